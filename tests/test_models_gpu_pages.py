"""Attention of new tokens over pages, as a GPU computes it, against softmax attention written out."""

import pytest
import torch

PAGE, PAGES = 16, 40
POSITIONS = (0, 37, 180)
"""Tokens before each of the new ones: none, some blocks less a few, several parts."""


@pytest.fixture(params=[1, 4, 16])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, triton_kernels: object) -> int:
    """Into how many parts each sequence is cut."""
    from zero2r1.models.gpu import pages

    monkeypatch.setattr(pages, "parts_for", lambda programs: request.param)
    return request.param


@pytest.mark.parametrize(
    ("heads", "kv_heads", "width", "width_v", "dtype", "near"),
    [
        (6, 2, 16, 24, torch.float32, 1e-5),
        (9, 3, 64, 64, torch.float32, 1e-5),
        (4, 4, 48, 32, torch.float16, 1e-2),
    ],
)
def test_a_new_token_sees_its_pages_and_itself_and_is_written_there(
    parts: int, heads: int, kv_heads: int, width: int, width_v: int, dtype: torch.dtype, near: float
) -> None:
    from zero2r1.models.gpu.pages import attend_new

    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    # What lies on pages beyond a sequence's own tokens is large, or no number at all.
    keys, values = drawn(PAGES, kv_heads, width, PAGE) * 100, drawn(PAGES, kv_heads, PAGE, width_v).fill_(torch.nan)
    tables = torch.randperm(PAGES, generator=generator)[:36].view(3, 12).int()
    row = drawn(3, (heads + kv_heads) * width + kv_heads * width_v)  # as projections give them: side by side
    query, key, value = row.split([heads * width, kv_heads * width, kv_heads * width_v], dim=1)
    query, key = query.unflatten(1, (heads, width)), key.unflatten(1, (kv_heads, width))
    value = value.unflatten(1, (kv_heads, width_v))
    expected = []
    for slot, before in enumerate(POSITIONS):
        own_keys, own_values = drawn(before, kv_heads, width), drawn(before, kv_heads, width_v)
        for token in range(before):
            page = int(tables[slot, token // PAGE])
            keys[page, :, :, token % PAGE], values[page, :, token % PAGE] = own_keys[token], own_values[token]
        seen, mixed = torch.cat([own_keys, key[slot][None]]).double(), torch.cat([own_values, value[slot][None]])
        seen, mixed = (one.double().repeat_interleave(heads // kv_heads, 1) for one in (seen, mixed))
        weights = (torch.einsum("hd,thd->ht", query[slot].double(), seen) * 0.3).softmax(-1)
        expected.append(torch.einsum("ht,thd->hd", weights, mixed))
    given = [tensor.to(device) for tensor in (query, key, value, keys, values, tables, torch.tensor(POSITIONS))]
    found = attend_new(*given, scaling=0.3)
    assert found.dtype == dtype
    assert float((found.cpu().double() - torch.stack(expected)).abs().max()) <= near
    for slot, before in enumerate(POSITIONS):
        page = int(tables[slot, before // PAGE])
        assert torch.equal(given[3][page, :, :, before % PAGE].cpu(), key[slot])
        assert torch.equal(given[4][page, :, before % PAGE].cpu(), value[slot])


def test_sequences_are_cut_into_parts_until_the_device_is_busy(triton_kernels: object) -> None:
    """512 programs wanted: 1 sequence of 2 heads is cut as often as it may be, 64 of them into 4, 1,024 not at all."""
    from zero2r1.models.gpu.pages import parts_for

    assert [parts_for(count) for count in (2, 64 * 2, 64 * 3, 1024 * 3)] == [16, 4, 2, 1]

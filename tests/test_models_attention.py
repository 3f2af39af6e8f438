"""Our attention equals transformers' own, and a packed sequence never notices its neighbours."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import VOCAB, network, ours, run_packed, token_rows

from zero2r1.core.errors import ModelError
from zero2r1.models import attention
from zero2r1.models.attention import ATTENTION, PackedContext, register_attention
from zero2r1.models.head import head_of
from zero2r1.models.packing import pack

SUPPORTED = ["qwen3", "llama", "qwen2", "mistral", "gemma3_text", "granite", "cohere"]


@pytest.mark.parametrize("family", SUPPORTED)
@pytest.mark.parametrize("reference", ["eager", "sdpa"])
def test_packed_logits_equal_plain_transformers(family, reference):
    model = network(family)
    model.set_attn_implementation(reference)
    sequences = token_rows(3, 12, 5, 1, 12, 7)
    with torch.no_grad():
        expected = [model(torch.tensor([sequence])).logits[0] for sequence in sequences]
        packed = [head_of(model).logits(hidden) for hidden in run_packed(ours(model), sequences)]
    for ours_, theirs in zip(packed, expected, strict=True):
        torch.testing.assert_close(ours_, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "llama", "qwen2"])
def test_packed_gradients_equal_plain_transformers(family):
    sequences = token_rows(4, 9, 2, 30)
    weights = [torch.randn(len(s), 32, generator=torch.Generator().manual_seed(i)) for i, s in enumerate(sequences)]
    plain, packed = network(family), ours(network(family))
    for sequence, weight in zip(sequences, weights, strict=True):
        (plain.model(torch.tensor([sequence])).last_hidden_state[0] * weight).sum().backward()
    states = run_packed(packed, sequences)
    torch.stack([(h * w).sum() for h, w in zip(states, weights, strict=True)]).sum().backward()
    theirs = dict(plain.model.named_parameters())
    for name, parameter in packed.model.named_parameters():
        largest = float(theirs[name].grad.abs().max())
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=0, atol=1e-5 * max(1.0, largest), msg=name)


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    order=st.randoms(use_true_random=False),
    padding_frac=st.sampled_from([0.0, 0.25, 1.0]),
)
def test_hidden_states_do_not_depend_on_neighbours_order_or_padding(lengths, order, padding_frac):
    model = ours(network("qwen3"))
    sequences = token_rows(*lengths)
    shuffled = list(range(len(sequences)))
    order.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        alone = [run_packed(model, [sequence])[0] for sequence in sequences]
        patch.setattr(attention, "MAX_PADDING_FRAC", padding_frac)
        together = run_packed(model, [sequences[index] for index in shuffled])
    for place, index in enumerate(shuffled):
        scale = float(alone[index].abs().max())
        torch.testing.assert_close(together[place], alone[index], rtol=0, atol=1e-6 * max(1.0, scale))


def test_a_changed_neighbour_leaves_every_bit_as_it_was():
    """Same lengths, so the same kernels on the same shapes: not only close but equal."""
    model = ours(network("llama"))
    first, second, third = token_rows(9, 5, 7)
    other = [(token + 1) % VOCAB for token in second]
    with torch.no_grad():
        before = run_packed(model, [first, second, third])
        after = run_packed(model, [first, other, third])
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[2], after[2])
    assert not torch.equal(before[1], after[1])


def test_a_later_token_never_changes_an_earlier_one():
    model = ours(network("qwen3"))
    sequence = token_rows(10)[0]
    with torch.no_grad():
        before = run_packed(model, [sequence])[0]
        after = run_packed(model, [[*sequence[:-1], (sequence[-1] + 1) % VOCAB]])[0]
    torch.testing.assert_close(before[:-1], after[:-1], rtol=0, atol=1e-6)


def test_gradients_do_not_cross_between_sequences():
    lengths = (3, 7, 2)
    query, key, value = (torch.randn(1, heads, 12, 4, requires_grad=True) for heads in (4, 2, 2))
    out = PackedContext(lengths).attend(0, query, key, value, scaling=0.5)
    out[:, 3:10].square().sum().backward()
    for tensor in (query, key, value):
        assert torch.count_nonzero(tensor.grad[:, :, :3]) == 0
        assert torch.count_nonzero(tensor.grad[:, :, 10:]) == 0
        assert torch.count_nonzero(tensor.grad[:, :, 3:10]) > 0


def test_attention_of_two_tokens_by_hand():
    # One head of width 1, scaling 1, q = (0, ln 3), k = (1, 0), v = (10, 20).
    # Token 0 sees itself: 10. Token 1: scores (ln 3 * 1, 0), weights (3/4, 1/4): 7.5 + 5 = 12.5.
    query = torch.tensor([0.0, 3.0]).clamp(min=1.0).log().view(1, 1, 2, 1)
    key, value = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1), torch.tensor([10.0, 20.0]).view(1, 1, 2, 1)
    out = PackedContext([2]).attend(0, query, key, value, scaling=1.0)
    torch.testing.assert_close(out.flatten(), torch.tensor([10.0, 12.5]))


def test_sequences_of_like_length_share_a_batch_and_others_do_not():
    # 10 and 9: padding 1 of 20 = 5 %; with 3 it would be 8 of 30 = 27 % > 25 %, so 3 opens a batch of its own.
    assert attention._groups([3, 10, 9]) == [[1, 2], [0]]
    assert attention._groups([5, 5, 5]) == [[0, 1, 2]]


@pytest.mark.parametrize(
    "lengths",
    [
        [8, 3, 5],  # [8] alone, then [5, 3] padded to 2 x 5: ten slots of a row of 16
        [1, 2, 3, 2],
        [8, 7, 1],  # [8, 7] padded to 2 x 8: as many slots as the row has tokens, and one of them is padding
        [4, 3, 1, 4, 3, 1],
    ],
)
@pytest.mark.parametrize("padding_frac", [0.0, 0.25, 0.4])
def test_a_padded_batch_as_large_as_the_row_is_no_permutation(lengths, padding_frac, monkeypatch):
    monkeypatch.setattr(attention, "MAX_PADDING_FRAC", padding_frac)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, 2, sum(lengths), 4, generator=generator, requires_grad=True) for _ in range(3))
    out = PackedContext(lengths).attend(0, query, key, value, scaling=0.5)
    weight = torch.randn(out.shape, generator=generator)
    gradients = torch.autograd.grad((out * weight).sum(), (query, key, value))
    alone = torch.cat(
        [
            torch.nn.functional.scaled_dot_product_attention(
                *(part[:, :, start : start + length] for part in (query, key, value)), is_causal=True, scale=0.5
            ).transpose(1, 2)
            for start, length in zip([sum(lengths[:i]) for i in range(len(lengths))], lengths, strict=True)
        ],
        dim=1,
    )
    torch.testing.assert_close(out, alone, rtol=0, atol=1e-6)
    expected = torch.autograd.grad((alone * weight).sum(), (query, key, value))
    for ours_, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours_, theirs, rtol=0, atol=1e-6)


def test_values_may_be_narrower_than_keys():
    query, key, value = torch.randn(1, 2, 6, 8), torch.randn(1, 2, 6, 8), torch.randn(1, 2, 6, 4)
    packed = PackedContext([4, 2]).attend(0, query, key, value, scaling=0.3)
    alone = PackedContext([2]).attend(0, query[:, :, 4:], key[:, :, 4:], value[:, :, 4:], scaling=0.3)
    assert packed.shape == (1, 6, 2, 4)
    torch.testing.assert_close(packed[:, 4:], alone)


@pytest.mark.parametrize("lengths", [[], [3, 0]])
def test_an_empty_pack_or_sequence_is_refused(lengths):
    with pytest.raises(ValueError, match="no empty one"):
        PackedContext(lengths)


def test_a_context_for_another_number_of_tokens_is_refused():
    query = torch.randn(1, 2, 5, 8)
    with pytest.raises(ValueError, match="made for 4 tokens"):
        PackedContext([4]).attend(0, query, query, query, scaling=1.0)


def test_calling_the_network_without_a_context_says_what_to_do():
    model = ours(network("qwen3"))
    with pytest.raises(ValueError, match="set_attn_implementation"):
        model(torch.tensor([[1, 2]]))


def test_capped_attention_scores_are_refused():
    model = ours(network("gemma2"))
    row = pack([[1, 2, 3]])
    with pytest.raises(ModelError, match="Z202") as caught:
        model(row.token_ids[None], use_cache=False, attention_context=PackedContext(row.lengths))
    assert caught.value.fix


def test_registering_twice_does_no_harm():
    assert register_attention() == register_attention() == ATTENTION

"""A stand-in for vLLM at the border: a network with fused and packed matrices, and an engine that answers requests.

Like the real one on a CPU it throws the plain form of a packed matrix away, and on reloading it forgets the output
head's packed copy of a tied embedding.
"""

import copy
from types import SimpleNamespace

import torch
from torch import nn

from zero2r1.policy.foreign import Request
from zero2r1.policy.vllm import VllmPolicy
from zero2r1.policy.vllm_server import own_logprobs
from zero2r1.policy.vllm_start import Started

FUSED = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}
OWNER = {part: fused for fused, parts in FUSED.items() for part in parts}
PADDING = 5


class Packed(nn.Module):
    """A matrix for a kernel. `keeps`: the plain form stays, as of embeddings."""

    def __init__(self, weight, *, keeps: bool) -> None:
        super().__init__()
        self.keeps = keeps
        self.packed = weight.clone()
        self.weight = nn.Parameter(weight if keeps else torch.empty(0), requires_grad=False)
        self.quant_method = SimpleNamespace(process_weights_after_loading=lambda module: module.pack(module.weight))

    def pack(self, weight) -> None:
        self.packed = weight.detach().clone()

    def cpu_linear(self, x, weight, bias):
        return x @ self.packed.t()


class Network(nn.Module):
    """The fused form of a plain network."""

    packed_modules_mapping = FUSED

    def __init__(self, plain, dtype) -> None:
        super().__init__()
        tensors = {name: tensor.detach().to(dtype) for name, tensor in plain.state_dict().items()}
        whole = {}
        for name, tensor in tensors.items():
            path, kind = name.rsplit(".", 1)
            parent, _, leaf = path.rpartition(".")
            owner = f"{parent}.{OWNER[leaf]}.{kind}" if leaf in OWNER else name
            whole.setdefault(owner, {})[leaf] = tensor
        for owner, parts in whole.items():
            order = FUSED.get(owner.split(".")[-2], list(parts))
            self._put(owner, torch.cat([parts[leaf] for leaf in order]))
        if plain.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def _put(self, name, tensor) -> None:
        *path, kind = name.split(".")
        keeps = path[-1] in ("embed_tokens", "lm_head")
        if keeps:
            tensor = torch.cat([tensor, torch.ones(PADDING, tensor.shape[1], dtype=tensor.dtype)])
        here = self
        for part in path[:-1]:
            if part not in here._modules:
                here.add_module(part, nn.Module())
            here = here._modules[part]
        if tensor.ndim == 2:
            here.add_module(path[-1], Packed(tensor, keeps=keeps))
        else:
            here.add_module(path[-1], nn.Module())
            here._modules[path[-1]].register_parameter(kind, nn.Parameter(tensor, requires_grad=False))


class FakeLLM:
    """Answers with what the network holds; the last request first."""

    def __init__(self, plain, tokenizer, *, dtype=torch.float32) -> None:
        self.plain, self.tokenizer, self.dtype = copy.deepcopy(plain).float(), tokenizer, dtype
        self.plain.set_attn_implementation("eager")
        with torch.no_grad():
            for parameter in self.plain.parameters():  # dummy weights
                parameter.fill_(0.01)
        self.network = Network(self.plain, dtype)
        self.llm_engine = self
        self.num_loads = self.num_resets = 0
        self.lets_go = True
        self.drops = ""
        self.finish_reason, self.noise = "", 0.0
        self.waiting: dict[str, tuple[list[int], SimpleNamespace]] = {}
        self.seen: list[SimpleNamespace] = []
        self.aborted: list[str] = []

    def collective_rpc(self, method, kwargs):
        assert method == "reload_weights"
        self.num_loads += 1
        modules = dict(self.network.named_modules())
        for name, tensor in kwargs["weights_iterator"]:
            if name == self.drops or name == "lm_head.weight":
                continue
            path, kind = name.rsplit(".", 1)
            parent, _, leaf = path.rpartition(".")
            if leaf in OWNER:
                self._fill(modules[f"{parent}.{OWNER[leaf]}"].packed, path, tensor)
            elif isinstance(modules[path], Packed) and not modules[path].keeps:
                modules[path].packed.copy_(tensor)
            else:
                with torch.no_grad():
                    getattr(modules[path], kind)[: len(tensor)].copy_(tensor)
                if isinstance(modules[path], Packed):
                    modules[path].pack(modules[path].weight)

    def _fill(self, whole, path, tensor) -> None:
        parent, _, leaf = path.rpartition(".")
        start = 0
        for part in FUSED[OWNER[leaf]]:
            size = self.plain.get_submodule(f"{parent}.{part}").weight.shape[0]
            if part == leaf:
                whole[start : start + size].copy_(tensor)
            start += size

    def apply_model(self, function):
        return [function(self.network)]

    def reset_prefix_cache(self):
        self.num_resets += 1
        return self.lets_go

    def add_request(self, name, prompt, parameters):
        self.waiting[name] = (prompt["prompt_token_ids"], parameters)
        self.seen.append(parameters)

    def abort_request(self, names):
        self.aborted += names
        for name in names:
            self.waiting.pop(name, None)

    def step(self):
        name, (prompt, parameters) = self.waiting.popitem()
        self._unfuse()
        said, logprobs, finish = speak(self.plain, self.tokenizer, prompt, vars(parameters))
        entries = [
            {token: SimpleNamespace(logprob=value + self.noise)} for token, value in zip(said, logprobs, strict=True)
        ]
        output = SimpleNamespace(token_ids=said, logprobs=entries, finish_reason=self.finish_reason or finish)
        return [SimpleNamespace(request_id=name, finished=True, outputs=[output])]

    def _unfuse(self) -> None:
        from zero2r1.policy.vllm_weights import readings

        with torch.no_grad():
            for name, value in readings(self.network, self.plain.state_dict(), self.dtype):
                self.plain.state_dict()[name].copy_(value)


def speak(plain, tokenizer, prompt, settings):
    """Token by token, by the whole network each time: (tokens, log-probabilities, why it ended)."""
    generator = torch.Generator().manual_seed(settings["seed"])
    said: list[int] = []
    logprobs: list[float] = []
    temperature = settings["temperature"] or 1.0
    while len(said) < settings["max_tokens"]:
        with torch.no_grad():
            scores = plain(input_ids=torch.tensor([[*prompt, *said]])).logits[0, -1] / temperature
        chances = scores.softmax(-1)
        greedy = settings["temperature"] == 0.0
        token = int(chances.argmax() if greedy else torch.multinomial(chances, 1, generator=generator))
        said.append(token)
        logprobs.append(float(scores.log_softmax(-1)[token]))
        text = tokenizer.decode(said, skip_special_tokens=False)
        if token in settings["stop_token_ids"] or any(stop in text for stop in settings["stop"]):
            return said, logprobs, "stop"
    return said, logprobs, "length"


def started(plain, tokenizer, *, dtype=torch.float32, max_tokens=128):
    llm = FakeLLM(plain, tokenizer, dtype=dtype)
    return Started(
        llm=llm, parameters=SimpleNamespace, final_only="final", dtype=dtype, max_tokens=max_tokens, end=lambda: None
    )  # fmt: skip


def policy(plain, tokenizer, *, dtype=torch.float32, max_tokens=128, kind=VllmPolicy):
    """(policy, the stand-in under it)"""
    running = started(plain, tokenizer, dtype=dtype, max_tokens=max_tokens)
    return kind(plain, tokenizer, running), running.llm


def gap_of(model, completion, *, temperature=1.0):
    """Mean difference, in nats, between what was recorded and the model's own."""
    first = len(completion.prompt_token_ids)
    own = own_logprobs(model, completion.prompt_token_ids + completion.token_ids, temperature=temperature)[first - 1 :]
    return float((own - torch.tensor(completion.logprobs)).abs().mean())


def request(*token_ids: int) -> Request:
    return Request(group=0, sample=0, seed=1, prompt_token_ids=token_ids)

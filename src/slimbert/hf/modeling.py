"""Slimbert models as transformers sees them: the folder the core wrote is the folder that these classes read.

One thin class per task around the core's Model. Attribute names are those of the core's Model
(`encoder`, `head`), so keys are equal and nothing is renamed. transformers 5 builds on the meta device and fills what a
checkpoint lacks by `_init_weights`, which therefore fills everything.
"""

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from ..config import HeadConfig
from ..errors import InputError
from ..model import ModelConfig
from ..model.encoder import Trace
from ..model.exits import EarlyConfig
from ..model.folder import PROBLEMS
from ..model.heads import Answer, MaskedLm, PoolerConfig, SequenceConfig
from ..model.kept import traced
from ..model.model import answer
from ..parts.core import Core, Explicit, use_core
from ..parts.initial import initialise
from ..state import Encoded
from .configuration import SlimbertConfig

HUB_OPTIONS = ("cache_dir", "revision", "token", "local_files_only", "subfolder")


class SlimbertPreTrainedModel(PreTrainedModel):
    """The encoder and head of a Model under transformers' roof."""

    config_class = SlimbertConfig
    base_model_prefix = "encoder"
    main_input_name = "input_ids"
    _supports_sdpa = True
    _no_split_modules = ["Layer"]

    def __init__(self, config: SlimbertConfig) -> None:
        core = dataclasses.replace(config.core(), head=self.wanted(config))
        config = copy.deepcopy(config)
        head_name = config.__dict__.pop("head_name", "head")  # another one only while from_pretrained loads
        config.hold(core)
        super().__init__(config)
        model = core.build()
        self.encoder = model.encoder
        self.add_module(head_name, model.head)
        if getattr(config, "_attn_implementation", None) == "eager":
            use_core(self, "explicit")
        self.post_init()

    @classmethod
    def wanted(cls, config: SlimbertConfig) -> HeadConfig | None:
        """The head that this class has, given the config of a folder that may hold another."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, name: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers. Where the folder holds the head of another task, ours is freshly initialised.

        Heads share names (`head.dense`), so ours bears another name while the folder is loaded.
        """
        hub = {option: kwargs[option] for option in HUB_OPTIONS if option in kwargs}
        if name is None or _fits(*(cls._heads(SlimbertConfig.from_pretrained(name, **hub)))):
            return super().from_pretrained(name, *args, **kwargs)
        config = kwargs.pop("config", None)
        if isinstance(config, SlimbertConfig):
            config = copy.deepcopy(config)
        else:
            config, rest = SlimbertConfig.from_pretrained(config or name, return_unused_kwargs=True, **kwargs)
            kwargs = rest | hub
        config.head_name = "new_head"
        loaded = super().from_pretrained(name, *args, config=config, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded  # a tuple with output_loading_info
        model.head = model._modules.pop("new_head")
        return loaded

    @classmethod
    def _heads(cls, config: SlimbertConfig) -> tuple[HeadConfig | None, HeadConfig | None]:
        """(the head in the folder, the head of this class)."""
        return config.core().head, cls.wanted(config)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fill what `module` itself owns, except what was loaded."""
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        loaded = [(value, value.clone()) for value in own if getattr(value, "_is_hf_initialized", False)]
        if len(loaded) < len(own):
            initialise(module, self.encoder.config.init_std)
            for value, was in loaded:
                value.copy_(was)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.encoder.embedding.token

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.encoder.embedding.token = value

    def get_output_embeddings(self) -> None:
        """None: a tied decoder owns no copy, and `resize_token_embeddings` minds an untied one itself."""

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> nn.Embedding:
        """As in transformers; the head's bias, an untied decoder and the config inside follow."""
        table = super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        core: ModelConfig = self.config.core()
        embedding = dataclasses.replace(core.encoder.embedding, vocab=table.weight.shape[0])
        core = dataclasses.replace(core, encoder=dataclasses.replace(core.encoder, embedding=embedding))
        self.encoder.config = core.encoder
        self.config.hold(core)
        if isinstance(self.head, MaskedLm):
            _resize_head(self.head, embedding.vocab, core.encoder.init_std)
        return table

    def encode(
        self,
        input_ids: Tensor,
        mask: Tensor | None,
        types: Tensor | None,
        trace: bool | None,
        maps: bool | None,
        *,
        select: Tensor | None = None,
    ) -> tuple[Encoded, dict[str, tuple[Tensor, ...]]]:
        """(what the encoder gives, the fields hidden_states and attentions of an output, where asked).

        select: places [B, K] of the rows that are wanted; all are where hidden_states or attentions are asked for.
        """
        trace = self.config.output_hidden_states if trace is None else trace
        maps = self.config.output_attentions if maps is None else maps
        embedded: list[Tensor] = []
        with contextlib.ExitStack() as stack:
            if trace:
                hook = self.encoder.embedding.register_forward_hook(lambda module, given, x: embedded.append(x))
                stack.callback(hook.remove)
            if maps:
                stack.enter_context(_keeping_maps(self.encoder))
            wanted = None if trace or maps else select
            kept: Trace | None = "states" if trace else getattr(self.head, "trace", None)
            encoded = self.encoder(input_ids, mask=real_tokens(mask), types=types, select=wanted, trace=kept)
        fields: dict[str, tuple[Tensor, ...]] = {}
        if trace:
            fields["hidden_states"] = (*embedded, *(state.x for state in encoded.trace[:-1]), encoded.state.x)
            encoded = encoded._replace(trace=tuple(self.encoder.read(state) for state in encoded.trace))
        return encoded, fields | ({"attentions": encoded.state.maps} if maps else {})

    def answer(self, encoded: Encoded) -> Tensor:
        """What the head says of the states."""
        return answer(self.encoder, self.head, encoded)

    def packed(self, output: Any, return_dict: bool | None) -> Any:
        """The output, as a tuple where asked."""
        whole = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if whole else output.to_tuple()


class SlimbertModel(SlimbertPreTrainedModel):
    """AutoModel: ids [B, S] -> last_hidden_state [B, S, dim]; pooler_output [B, dim] where the folder has a pooler."""

    @classmethod
    def wanted(cls, config: SlimbertConfig) -> HeadConfig | None:
        head = config.core().head
        return head if isinstance(head, PoolerConfig) else None

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        encoded, asked = self.encode(input_ids, attention_mask, token_type_ids, output_hidden_states, output_attentions)
        vectors = None if self.head is None else self.answer(encoded)
        output = BaseModelOutputWithPooling(last_hidden_state=encoded.state.x, pooler_output=vectors, **asked)
        return self.packed(output, return_dict)


class SlimbertForSequenceClassification(SlimbertPreTrainedModel):
    """AutoModelForSequenceClassification: ids [B, S] -> logits [B, C].

    labels: class numbers [B]; 0 and 1 [B, C] where several labels fit; numbers [B].
    """

    @classmethod
    def wanted(cls, config: SlimbertConfig) -> HeadConfig | None:
        head = config.core().head
        alike = isinstance(head, SequenceConfig | EarlyConfig) and head.answer != "tags"
        if head is not None and alike:
            same = head.answer == "labels" and len(config.labels) == len(head.labels)  # also of one label
            if same or (len(config.labels) > 1) == (head.answer != "number"):
                return dataclasses.replace(head, labels=config.labels)
        named = {problem: answer for answer, problem in PROBLEMS.items()}
        answer: Any = named.get(str(config.problem_type), "class")
        answer = "number" if len(config.labels) == 1 else "class" if answer == "number" else answer
        hidden = head.act if isinstance(head, PoolerConfig) else "tanh"
        return SequenceConfig(labels=config.labels, hidden=hidden, answer=answer)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> Any:
        first = torch.zeros_like(input_ids[:, :1]) if self.head.pool == "cls" else None
        asks = (output_hidden_states, output_attentions)
        encoded, asked = self.encode(input_ids, attention_mask, token_type_ids, *asks, select=first)
        logits = self.answer(encoded)
        loss = None if labels is None else loss_of(logits, labels, encoded, self.config.core().head.answer)
        output = SequenceClassifierOutput(loss=loss, logits=logits, **asked)
        return self.packed(output, return_dict)


def real_tokens(mask: Tensor | None) -> Tensor | None:
    """transformers' attention mask [B, S] as the core's (True where real); None where it is cheap to see that all are.

    Looking costs nothing on the CPU; on a GPU it would wait for the device, and it would break a compiled graph.
    """
    if mask is None:
        return None
    if mask.dim() != 2:
        raise InputError(
            "attention_mask", f"of shape {tuple(mask.shape)}", "give [batch, tokens], 1 where a token is real"
        )
    looks = mask.device.type == "cpu" and not traced()
    return None if looks and bool(mask.all()) else mask.bool()


def _fits(stored: HeadConfig | None, wanted: HeadConfig | None) -> bool:
    """Whether the tensors of the head in a folder are for the wanted one: same kind, or a pooler awaiting classes."""
    if isinstance(stored, PoolerConfig) and isinstance(wanted, SequenceConfig):
        return stored.act == wanted.hidden
    return stored is None or type(stored) is type(wanted)


def loss_of(logits: Tensor, labels: Tensor, encoded: Encoded, answer: Answer = "class") -> Tensor:
    """The loss of rows [N, C] by what they answer, in float32, and what the mixers add."""
    if answer == "number":
        loss = functional.mse_loss(logits.float().flatten(), labels.float().flatten())
    elif answer == "labels":
        loss = functional.binary_cross_entropy_with_logits(logits.float(), labels.float())
    else:
        loss = functional.cross_entropy(logits.float(), labels.flatten())
    return sum(encoded.state.losses, loss)


@torch.no_grad()
def _resize_head(head: MaskedLm, vocab: int, std: float) -> None:
    """Bias and untied decoder for another number of tokens; new rows are fresh."""
    keep = min(vocab, head.bias.shape[0])
    bias = torch.zeros(vocab, dtype=head.bias.dtype, device=head.bias.device)
    bias[:keep] = head.bias[:keep]
    head.bias = nn.Parameter(bias)
    if head.decoder is not None:
        weight = head.decoder.weight.new_empty(vocab, head.decoder.in_features).normal_(std=std)
        weight[:keep] = head.decoder.weight[:keep]
        head.decoder.weight, head.decoder.out_features = nn.Parameter(weight), vocab


@contextlib.contextmanager
def _keeping_maps(encoder: nn.Module) -> Iterator[None]:
    """Within it every attention gives its map; the core is the plain one, and the same function."""
    owners: list[Any] = [module for module in encoder.modules() if isinstance(getattr(module, "core", None), Core)]
    before = [module.core for module in owners]
    use_core(encoder, Explicit(keep_maps=True))
    try:
        yield
    finally:
        for module, core in zip(owners, before, strict=True):
            module.core = core

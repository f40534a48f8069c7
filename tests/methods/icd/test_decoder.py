"""The decoder against PyTorch's own attention, and invariances of its output."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from icd.methods.icd.decoder import CrossAttention, Decoder, DecoderLayer, init_projection
from icd.methods.icd.plain import look_up, split_heads
from icd.methods.tokens import Tokens
from tests.methods.batches import attention_of

C = 16


def make_tokens(features: Tensor, position: Tensor, valid: Tensor) -> Tokens:
    """Tokens [N, L, C] of one level with a row and a column of its own for each of them."""
    row_sines, column_sines = position.chunk(2, dim=-1)
    line = torch.arange(features.shape[1])
    level = features.transpose(1, 2)[..., None]
    return Tokens([level], row_sines, column_sines, line, line, valid)


def random_tokens(length: int = 30, images: int = 2) -> Tokens:
    """Tokens in double precision; every third of the last image is padding."""
    torch.manual_seed(0)
    valid = torch.ones(images, length, dtype=torch.bool)
    valid[-1, ::3] = False
    features, position = torch.randn(2, images, length, C, dtype=torch.float64)
    return make_tokens(features, position, valid)


def random_queries(count: int = 5) -> Tensor:
    return torch.randn(2, count, C, dtype=torch.float64)


def random_decoder(depth: int, heads: int = 4) -> Decoder:
    torch.manual_seed(1)
    decoder = Decoder(C, heads, depth).double()
    for parameter in decoder.parameters():
        nn.init.normal_(parameter, std=0.4)
    return decoder


def permuted(tokens: Tokens, order: Tensor) -> Tokens:
    features, position = tokens.features[:, order], tokens.position[:, order]
    return make_tokens(features, position, tokens.valid[:, order])


def pytorch_attention(ours: CrossAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(C, ours.heads, batch_first=True, dtype=torch.float64)
    parts = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
    theirs.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    return theirs


@pytest.mark.parametrize("heads", [1, 4, 16])
def test_attention_is_that_of_pytorch_with_position_in_the_keys_alone(heads: int) -> None:
    ours = attention_of(random_decoder(0, heads).layers[0])
    tokens, queries = random_tokens(), random_queries()
    found = ours(queries, tokens, look_up)
    expected, attention = pytorch_attention(ours)(
        queries,
        tokens.features + ours.position(tokens.position),
        tokens.features,
        key_padding_mask=~tokens.valid,
        average_attn_weights=False,
    )
    torch.testing.assert_close(found.queries, expected)
    torch.testing.assert_close(found.logits.softmax(dim=-1), attention)


def test_a_layer_is_that_of_a_transformer_without_self_attention() -> None:
    ours = random_decoder(1).layers[0]
    assert isinstance(ours, DecoderLayer)
    first, _, last = ours.ffn
    theirs = nn.TransformerDecoderLayer(
        C, 4, dim_feedforward=4 * C, dropout=0.0, batch_first=True, dtype=torch.float64
    )
    theirs.norm2.load_state_dict(ours.norm1.state_dict())
    theirs.norm3.load_state_dict(ours.norm2.state_dict())
    theirs.linear1.load_state_dict(first.state_dict())
    theirs.linear2.load_state_dict(last.state_dict())
    tokens, queries = random_tokens(), random_queries()
    attended, _ = pytorch_attention(ours.attention)(
        queries,
        tokens.features + ours.attention.position(tokens.position),
        tokens.features,
        key_padding_mask=~tokens.valid,
    )
    after = theirs.norm2(queries + attended)
    expected = theirs.norm3(after + theirs._ff_block(after))
    torch.testing.assert_close(ours(queries, tokens, look_up).queries, expected)


@pytest.mark.parametrize(("depth", "layers"), [(0, 1), (1, 1), (3, 3)])
def test_depth_is_the_number_of_layers_and_zero_is_one_attention(depth: int, layers: int) -> None:
    decoder = random_decoder(depth)
    found = decoder(random_queries(), random_tokens(), look_up)
    assert len(decoder.layers) == len(found) == layers
    assert isinstance(decoder.layers[0], CrossAttention) == (depth == 0)
    for layer in found:
        assert layer.queries.shape == (2, 5, C)
        assert layer.logits.shape == (2, 4, 5, 30)
        assert layer.values.shape == (2, 4, 30, C // 4)


def test_each_layer_asks_with_what_the_one_before_found() -> None:
    decoder, tokens, queries = random_decoder(3), random_tokens(), random_queries()
    for layer, found in zip(decoder.layers, decoder(queries, tokens, look_up), strict=True):
        expected = layer(queries, tokens, look_up)
        assert torch.equal(found.queries, expected.queries)
        assert torch.equal(found.logits, expected.logits)
        queries = found.queries


@pytest.mark.parametrize("depth", [0, 2])
def test_padded_tokens_are_not_looked_at(depth: int) -> None:
    decoder, tokens, queries = random_decoder(depth), random_tokens(), random_queries()
    expected = decoder(queries, tokens, look_up)[-1]
    features = tokens.features.masked_fill(~tokens.valid[..., None], 1e6)
    position = tokens.position.masked_fill(~tokens.valid[..., None], -1e6)
    found = decoder(queries, make_tokens(features, position, tokens.valid), look_up)[-1]
    torch.testing.assert_close(found.queries, expected.queries, rtol=0, atol=0)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=0)
    padded = ~tokens.valid[:, None, None].expand_as(found.logits)
    assert (found.logits[padded] == -torch.inf).all()
    assert found.logits[~padded].isfinite().all()


@pytest.mark.parametrize("depth", [0, 2])
def test_order_of_tokens_does_not_matter(depth: int) -> None:
    decoder, tokens, queries = random_decoder(depth), random_tokens(), random_queries()
    order = torch.randperm(30)
    expected = decoder(queries, tokens, look_up)[-1]
    found = decoder(queries, permuted(tokens, order), look_up)[-1]
    torch.testing.assert_close(found.queries, expected.queries)
    torch.testing.assert_close(found.logits, expected.logits[..., order])
    torch.testing.assert_close(found.values, expected.values[:, :, order])


@pytest.mark.parametrize("depth", [0, 2])
def test_queries_do_not_see_each_other(depth: int) -> None:
    decoder, tokens, queries = random_decoder(depth), random_tokens(), random_queries()
    together = decoder(queries, tokens, look_up)[-1].queries
    for k in range(queries.shape[1]):
        alone = decoder(queries[:, k : k + 1], tokens, look_up)[-1].queries
        torch.testing.assert_close(together[:, k : k + 1], alone)


def test_split_heads_gives_each_head_consecutive_channels() -> None:
    x = torch.arange(2 * 3 * 8).reshape(2, 3, 8)
    split = split_heads(x, 4)
    assert split.shape == (2, 4, 3, 2)
    for head in range(4):
        assert torch.equal(split[:, head], x[:, :, 2 * head : 2 * head + 2])


def test_projections_start_as_those_of_pytorch() -> None:
    """Same range as a third of the stacked Xavier projection of MultiheadAttention, zero biases."""
    torch.manual_seed(0)
    ours = CrossAttention(64, 4)
    theirs = nn.MultiheadAttention(64, 4)
    limit = theirs.in_proj_weight.abs().max().item()
    for linear in (ours.query, ours.key, ours.value, init_projection(nn.Linear(64, 64))):
        assert linear.weight.abs().max().item() == pytest.approx(limit, rel=0.01)
        assert linear.weight.std().item() == pytest.approx(
            theirs.in_proj_weight.std().item(), rel=0.05
        )
        assert not linear.bias.any()
    assert not ours.out.bias.any()


@pytest.mark.parametrize(("channels", "heads"), [(16, 3), (16, 32), (256, 7)])
def test_heads_that_do_not_divide_the_channels_are_an_error(channels: int, heads: int) -> None:
    with pytest.raises(ValueError, match=f"{channels} channels cannot be split into {heads} heads"):
        CrossAttention(channels, heads)

"""The published networks in plain PyTorch: a second implementation, to compare the Rust one with layer by layer.

    python scripts/parity/trace_models.py CASE OUT.safetensors     (CASE: see CASES)

Every parameter and image follows from its name by rule, so both sides have the same ones without a file. The output
holds each named intermediate tensor of one forward pass, and after a training step the normalisations' statistics.
Needs torch, nothing else.
"""

import argparse
import ctypes
import json
import math
import struct

import torch
import torch.nn.functional as F
from torch import nn

MASK = (1 << 64) - 1


def as_signed(value):
    return value - (1 << 64) if value >> 63 else value


def uniform(name, shape):
    """u(name, shape) in [-1, 1): SplitMix64 seeded with FNV-1a-64 of the name. int64 wraps as uint64 does."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK

    def shifted(x, bits):  # logical shift to the right
        return (x >> bits) & ((1 << (64 - bits)) - 1)

    steps = torch.arange(1, math.prod(shape) + 1, dtype=torch.int64)
    x = steps * as_signed(0x9E3779B97F4A7C15) + as_signed(state)
    x = (x ^ shifted(x, 30)) * as_signed(0xBF58476D1CE4E5B9)
    x = (x ^ shifted(x, 27)) * as_signed(0x94D049BB133111EB)
    x = x ^ shifted(x, 31)
    return (shifted(x, 11).double() / 2**53 * 2 - 1).float().reshape(shape)


def parameter(name, shape):
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if name.endswith("running_mean"):
        return torch.zeros(shape)
    if name.endswith("running_var"):
        return torch.ones(shape)
    if name.endswith(("pos_embed", "cls_token", "bias")):
        return 0.02 * uniform(name, shape)
    if len(shape) >= 2:
        return uniform(name, shape) * math.sqrt(3 * shape[0] / math.prod(shape))
    return 1 + 0.1 * uniform(name, shape)


class Recorder:
    """Names and copies of intermediate tensors."""

    def __init__(self):
        self.entries = {}

    def __call__(self, name, tensor):
        assert name not in self.entries, name
        self.entries[name] = tensor.detach().clone().contiguous()
        return tensor


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        b, n, dim = x.shape
        rows = self.qkv(x).chunk(3, dim=-1)
        query, key, value = (part.reshape(b, n, self.heads, dim // self.heads).transpose(1, 2) for part in rows)
        attention = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(dim // self.heads), dim=-1)
        mixed = (attention @ value).transpose(1, 2).reshape(b, n, dim)
        return self.proj(mixed), key, attention


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x):
        update, key, attention = self.attn(self.norm1(x))
        x = x + update
        return x + self.mlp(self.norm2(x)), key, attention


class PatchEmbed(nn.Module):
    def __init__(self, dim, patch):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch, stride=patch)


class Vit(nn.Module):
    def __init__(self, dim, depth, heads, patch, grid):
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, dim))
        self.patch_embed = PatchEmbed(dim, patch)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def positions(self, rows, columns):
        if rows == columns == self.grid:
            return self.pos_embed
        table = self.pos_embed[:, 1:].reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        scale = ((rows + 0.1) / self.grid, (columns + 0.1) / self.grid)
        table = F.interpolate(table, scale_factor=scale, mode="bicubic", align_corners=False)
        assert table.shape[-2:] == (rows, columns)
        return torch.cat([self.pos_embed[:, :1], table.flatten(2).transpose(1, 2)], dim=1)

    def forward(self, image, record):
        patches = self.patch_embed.proj(image)
        rows, columns = patches.shape[-2:]
        patches = record("vit_model.patch_embed", patches.flatten(2).transpose(1, 2))
        cls = self.cls_token.expand(len(image), -1, -1)
        x = record("vit_model.tokens", torch.cat([cls, patches], dim=1) + self.positions(rows, columns))
        for index, block in enumerate(self.blocks):
            x, key, attention = block(x)
            record(f"vit_model.blocks.{index}", x)
        record("vit_model.key", key)
        record("vit_model.attention", attention)
        # Channel d of head h goes to d * heads + h.
        descriptors = torch.stack([key[:, h, 1:] for h in range(key.shape[1])], dim=-1).flatten(2)
        return descriptors, (rows, columns)


class Adapter(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x, record, scope):
        hidden = record(f"{scope}aff_proj.fc1", F.gelu(self.fc1(self.norm(x))))
        return record(f"{scope}aff_proj.features", x + self.fc2(hidden))


def branch(dim):
    def layer():
        return [nn.Conv2d(dim, dim, 3, padding=1), nn.BatchNorm2d(dim), nn.ReLU()]

    return nn.Sequential(*layer(), *layer())


class Network(nn.Module):
    """LoopTrans or LOCATE: they differ in names, and in whether the ego view passes the exo branch too."""

    def __init__(self, backbone, channels, exo_name, ego_name):
        super().__init__()
        dim = backbone["dim"]
        self.exo_name, self.ego_name = exo_name, ego_name
        self.vit_model = Vit(**backbone)
        self.aff_proj = Adapter(dim)
        setattr(self, exo_name, branch(dim))
        setattr(self, ego_name, branch(dim))
        self.aff_fc = nn.Conv2d(dim, channels, 1)

    def features(self, descriptors, size, record, scope=""):
        record(f"{scope}descriptors", descriptors)
        features = self.aff_proj(descriptors, record, scope)
        return features.transpose(1, 2).unflatten(2, size)

    def maps(self, name, x, record, scope=""):
        for index, layer in enumerate(getattr(self, name)):
            x = layer(x)
            if index != 2 and index != 4:
                record(f"{scope}{name}.{index}", x)
        return record(f"{scope}{name}.maps", self.aff_fc(x))


def looptrans(backbone, channels=51):
    return Network(backbone, channels, "scam", "pixel_dec")


def locate(backbone, channels=36):
    return Network(backbone, channels, "aff_exo_proj", "aff_ego_proj")


def seeded(network):
    state = {name: parameter(name, tuple(value.shape)) for name, value in network.state_dict().items()}
    network.load_state_dict(state, strict=True)
    return network


def image(name, shape):
    return 2 * uniform(name, shape)


def evaluate(network, shape, record, branches):
    network.eval()
    descriptors, size = network.vit_model(image("parity.image", shape), record)
    features = network.features(descriptors, size, record)
    for name in branches:
        network.maps(name, features, record)


def step(network, record):
    """One training forward pass: 2 ego images, 2 exo images of each."""
    network.train()
    unrecorded = lambda _name, tensor: tensor
    ego, size = network.vit_model(image("parity.ego", (2, 3, 224, 224)), unrecorded)
    exo, _ = network.vit_model(image("parity.exo", (4, 3, 224, 224)), unrecorded)
    exo = network.features(exo, size, record, "exo.")
    ego = network.features(ego, size, record, "ego.")
    network.maps("scam", exo, record, "exo.")
    network.maps("scam", ego, record, "ego.")
    network.maps("pixel_dec", ego, record, "ego.")
    for name, value in network.named_buffers():
        record(f"after.{name}", value)


SMALL_16 = dict(dim=384, depth=12, heads=6, patch=16, grid=14)
TINY_8 = dict(dim=192, depth=12, heads=3, patch=8, grid=28)
BASE_16 = dict(dim=768, depth=2, heads=12, patch=16, grid=14)
TOY_14 = dict(dim=128, depth=2, heads=2, patch=14, grid=5)
BOTH = ("pixel_dec", "scam")

CASES = {
    "looptrans": lambda record: evaluate(seeded(looptrans(SMALL_16)), (1, 3, 224, 224), record, BOTH),
    "looptrans_wide": lambda record: evaluate(seeded(looptrans(SMALL_16)), (1, 3, 224, 320), record, BOTH),
    "looptrans_tiny_8": lambda record: evaluate(seeded(looptrans(TINY_8)), (2, 3, 96, 64), record, BOTH),
    "looptrans_base_16": lambda record: evaluate(seeded(looptrans(BASE_16)), (1, 3, 224, 224), record, BOTH),
    "looptrans_patch_14": lambda record: evaluate(seeded(looptrans(TOY_14)), (1, 3, 112, 98), record, BOTH),
    "looptrans_step": lambda record: step(seeded(looptrans(SMALL_16)), record),
    "locate": lambda record: evaluate(seeded(locate(SMALL_16)), (1, 3, 224, 224), record, ["aff_ego_proj"]),
}


def write_safetensors(entries, path):
    """The format's whole definition: a length, a JSON header, the bytes."""
    types = {torch.float32: "F32", torch.int64: "I64"}
    header, offset = {}, 0
    for name, tensor in entries.items():
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": types[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in entries.values():
            file.write(ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("out")
    arguments = parser.parse_args()
    record = Recorder()
    with torch.no_grad():
        CASES[arguments.case](record)
    write_safetensors(record.entries, arguments.out)


if __name__ == "__main__":
    main()

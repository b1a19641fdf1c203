"""The losses in plain PyTorch, sample by sample: a second implementation, to compare the Rust one with.

    python scripts/parity/trace_losses.py CASE OUT.safetensors     (CASE: looptrans, locate)

Weights, pictures and concepts follow from their names by rule (see trace_models.py), on a toy backbone. The output holds
every loss term, the total and the norm of its gradient by each parameter. Needs torch, nothing else.
"""

import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn

import trace_models as models

TOY = dict(dim=48, depth=2, heads=3, patch=8, grid=7)
ACTIONS, NOISE_HEADS = 3, 15
LABELS = [2, 0]
EXO_PER_EGO = 3


class Concepts(nn.Module):
    """What each layer reads, it reads by the initial tokens."""

    def __init__(self, dim, parts=4, layers=8, heads=8):
        super().__init__()
        attention = lambda: nn.MultiheadAttention(dim, heads, batch_first=True)
        self.tokens = nn.Embedding(parts, dim)
        self.cross_attn_layers = nn.ModuleList(attention() for _ in range(layers))
        self.self_attn_layers = nn.ModuleList(attention() for _ in range(layers))
        self.norm_layers = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))
        self.ffn_layers = nn.ModuleList(nn.Module() for _ in range(layers))
        for layer in self.ffn_layers:
            layer.net = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Dropout(0), nn.Linear(4 * dim, dim))

    def forward(self, x):
        tokens = self.tokens.weight.expand(len(x), -1, -1)
        q = tokens
        for cross, own, norm, ffn in zip(
            self.cross_attn_layers, self.self_attn_layers, self.norm_layers, self.ffn_layers
        ):
            q = q + cross(tokens, x, x)[0]
            q = q + own(tokens, tokens, tokens)[0]
            q = norm(q + ffn.net(q))
        return torch.stack([F.cosine_similarity(x, q[:, k : k + 1], dim=-1) for k in range(q.shape[1])], dim=-1) + 1


class WithConcepts(nn.Module):
    """Only so that the concepts' names start with `cluster.`"""

    def __init__(self):
        super().__init__()
        self.cluster = Concepts(TOY["dim"])


def min_max(x, epsilon):
    return (x - x.min()) / (x.max() - x.min() + epsilon)


def view(network, name, pictures):
    """Descriptors [B, N, D], their grid, and what CLS attends to [B, heads, N]."""
    record = models.Recorder()
    side = TOY["grid"] * TOY["patch"]
    with torch.no_grad():
        descriptors, grid = network.vit_model(models.image(name, (pictures, 3, side, side)), record)
    return descriptors, grid, record.entries["vit_model.attention"][:, :, 0, 1:]


def nothing(_name, tensor):
    return tensor


def classification(ego, exo):
    """Maps [b, C, h, w] and [b, n, C, h, w]."""
    labels = torch.tensor(LABELS)
    exo_terms = [F.cross_entropy(exo[:, n].mean((-2, -1)), labels) for n in range(EXO_PER_EGO)]
    return F.cross_entropy(ego.mean((-2, -1)), labels), sum(exo_terms) / EXO_PER_EGO


def concentration(maps):
    """One map at a time, its variances as two-dimensional sums."""
    losses = []
    for one in maps.flatten(0, 1):
        mass = min_max(one, 1e-10) + 1e-3
        mass = mass / mass.sum()
        y = (2 * torch.arange(one.shape[0]) / one.shape[0] - 1)[:, None].expand_as(one)
        x = (2 * torch.arange(one.shape[1]) / one.shape[1] - 1)[None].expand_as(one)
        spread = [(mass * (c - (mass * c).sum()) ** 2).sum() for c in (x, y)]
        losses.append(sum(spread))
    return torch.stack(losses).mean()


def pseudo_mask(activation, parts, saliency, count):
    """Sets of patches, as Python has them."""
    active = set(torch.nonzero(min_max(activation.flatten(), 1e-15) > 0.92).flatten().tolist())
    members = [set(torch.nonzero(parts == k).flatten().tolist()) for k in range(count)]
    salience = [sum(saliency[p].item() for p in part) / len(part) if part else math.inf for part in members]
    scores = [len(active & part) / (len(active | part) + 1e-6) if part else -2 for part in members]
    scores[salience.index(min(salience))] = -1
    chosen = members[scores.index(max(scores))]
    return torch.tensor([float(p in chosen) for p in range(len(parts))])


def looptrans():
    network = models.seeded(models.looptrans(TOY, ACTIONS + NOISE_HEADS)).train()
    concepts = models.seeded(WithConcepts()).cluster
    b = len(LABELS)
    ego_keys, grid, attention = view(network, "losses.ego", b)
    exo_keys, _, _ = view(network, "losses.exo", b * EXO_PER_EGO)
    exo_features = network.features(exo_keys, grid, nothing)
    ego_features = network.features(ego_keys, grid, nothing)
    exo = network.maps("scam", exo_features, nothing).unflatten(0, (b, EXO_PER_EGO))
    ego = network.maps("scam", ego_features, nothing)
    pixel = network.maps("pixel_dec", ego_features, nothing)
    exo_keys = exo_keys.unflatten(0, (b, EXO_PER_EGO))
    with torch.no_grad():
        similarity = concepts(ego_keys)

    mse, dice, corr, dill = [], [], [], []
    for i, label in enumerate(LABELS):
        saliency = min_max(attention[i].mean(0), 1e-15)
        mask = pseudo_mask(ego[i, label].detach(), similarity[i].argmax(-1), saliency, similarity.shape[-1])
        q = min_max(pixel[i, label].flatten(), 1e-15)
        mse.append(F.mse_loss(q, mask))
        dice.append(1 - (2 * (q * mask).sum() + 1) / (q.sum() + mask.sum() + 1))

        e, x = pixel[i].flatten(1), torch.cat([exo[i, n].flatten(1) for n in range(EXO_PER_EGO)], dim=1)
        corr.append(1 - F.cosine_similarity(e @ e.T, x @ x.T, dim=0).mean())

        def pooled(channel):
            weighted = [exo[i, n, channel].flatten()[:, None] * exo_keys[i, n] for n in range(EXO_PER_EGO)]
            return F.normalize(torch.cat(weighted).mean(0), dim=0)

        own = F.normalize((pixel[i, label].flatten()[:, None] * ego_keys[i]).mean(0), dim=0)
        target = pooled(label)
        right = torch.exp(target @ own)
        wrong = sum(torch.exp(target @ pooled(ACTIONS + m)) for m in range(NOISE_HEADS))
        dill.append(-torch.log(right / (right + wrong)))

    ego_cls, exo_cls = classification(ego, exo)
    terms = dict(ego_cls=ego_cls, exo_cls=exo_cls, con=concentration(pixel))
    terms |= {name: sum(each) / b for name, each in dict(mse=mse, dice=dice, corr=corr, dill=dill).items()}
    weights = dict(ego_cls=1, exo_cls=1, mse=10, dice=2, corr=1.5, dill=0.05, con=0.07)
    return network, terms, weights


def k_means(rows):
    """From the first, the middle and the last row."""
    centres = rows[[0, len(rows) // 2, len(rows) - 1]]
    for _ in range(300):
        nearest = torch.cdist(rows, centres).argmin(1)
        moved = [rows[nearest == k].mean(0) if (nearest == k).any() else torch.zeros_like(rows[0]) for k in range(3)]
        moved = torch.stack(moved)
        shift = ((moved - centres) ** 2).sum()
        centres = moved
        if shift <= 1e-4:
            break
    return F.normalize(centres, dim=1)


def prototype(exo_maps, exo_keys, ego_keys, attention):
    rows = [keys[min_max(one, 1e-10).flatten() > 0.6] for one, keys in zip(exo_maps, exo_keys)]
    rows = torch.cat(rows)
    if len(rows) < 3:
        return None
    votes = torch.stack([(head > head.mean()).float() for head in attention]).mean(0)
    votes = min_max(votes, 1e-15)
    salient = votes > votes.mean()
    best, chosen = -1, None
    for centre in k_means(rows):
        like = min_max(F.cosine_similarity(centre[None], ego_keys, dim=1), 1e-12)
        like = like > like.mean()
        iou = ((like & salient).sum() / like.sum() + salient.sum() / (like | salient).sum()) / 2
        if iou > best:
            best, chosen = iou, centre
    return chosen if best >= 0.6 else None


def locate():
    network = models.seeded(models.locate(TOY, ACTIONS)).train()
    b = len(LABELS)
    ego_keys, grid, attention = view(network, "losses.ego", b)
    exo_keys, _, _ = view(network, "losses.exo", b * EXO_PER_EGO)
    exo = network.maps("aff_exo_proj", network.features(exo_keys, grid, nothing), nothing)
    exo = exo.unflatten(0, (b, EXO_PER_EGO))
    ego = network.maps("aff_ego_proj", network.features(ego_keys, grid, nothing), nothing)
    exo_keys = exo_keys.unflatten(0, (b, EXO_PER_EGO))

    proto = []
    for i, label in enumerate(LABELS):
        found = prototype(exo[i, :, label].detach(), exo_keys[i], ego_keys[i], attention[i])
        if found is not None:
            q = min_max(ego[i, label].flatten(), 1e-15)
            marked = (q[:, None] * ego_keys[i]).sum(0) / q.sum()
            proto.append(torch.relu(1 - F.cosine_similarity(marked, found, dim=0) - 0.5))
    ego_cls, exo_cls = classification(ego, exo)
    proto = sum(proto) / len(proto) if proto else torch.zeros(())
    terms = dict(ego_cls=ego_cls, exo_cls=exo_cls, proto=proto, con=concentration(ego))
    return network, terms, dict(ego_cls=1, exo_cls=1, proto=1, con=0.07)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=["looptrans", "locate"])
    parser.add_argument("out")
    arguments = parser.parse_args()
    network, terms, weights = {"looptrans": looptrans, "locate": locate}[arguments.case]()
    total = sum(weights[name] * term for name, term in terms.items())
    total.backward()
    entries = {f"losses.{name}": term.detach() for name, term in terms.items()} | {"total": total.detach()}
    for name, value in network.named_parameters():
        if value.grad is not None:
            entries[f"gradient_norms.{name}"] = value.grad.norm()
    models.write_safetensors(entries, arguments.out)


if __name__ == "__main__":
    main()

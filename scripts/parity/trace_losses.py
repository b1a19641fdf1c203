"""The losses in plain PyTorch, sample by sample: a second implementation, to compare the Rust one with.

    python scripts/parity/trace_losses.py CASE OUT.safetensors     (CASE: looptrans, locate, wsma)

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


WSMA_TOY = dict(dim=64, depth=3, heads=2, patch=8, grid=7)
# CLIP's tokens of "beat", "boxing" and "brush with", between 16 learned ones ("X") and "." and the end.
NAMES = [[3018], [5554], [8594, 593]]
TEXT, SHARED, LEARNED, CONTEXT, VOCABULARY = 512, 1024, 16, 77, 49408


class TextBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(TEXT, 8, batch_first=True)
        self.ln_1 = nn.LayerNorm(TEXT)
        self.ln_2 = nn.LayerNorm(TEXT)
        self.mlp = nn.Module()
        self.mlp.c_fc = nn.Linear(TEXT, 4 * TEXT)
        self.mlp.c_proj = nn.Linear(4 * TEXT, TEXT)

    def forward(self, x, later):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=later, need_weights=False)[0]
        y = self.mlp.c_fc(self.ln_2(x))
        return x + self.mlp.c_proj(y * torch.sigmoid(1.702 * y))


class Wsma(nn.Module):
    def __init__(self, actions):
        super().__init__()
        dim, patches = WSMA_TOY["dim"], WSMA_TOY["grid"] ** 2
        self.vit_model = models.Vit(**WSMA_TOY)
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self.positional_embedding = nn.Parameter(torch.zeros(CONTEXT, TEXT))
        self.text_projection = nn.Parameter(torch.zeros(TEXT, SHARED))
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(TextBlock() for _ in range(12))
        self.token_embedding = nn.Embedding(VOCABULARY, TEXT)
        self.ln_final = nn.LayerNorm(TEXT)
        self.prompt_learner = nn.Module()
        self.prompt_learner.ctx = nn.Parameter(torch.zeros(LEARNED, TEXT))
        self.prompt_learner.register_buffer("token_prefix", torch.zeros(actions, 1, TEXT))
        self.prompt_learner.register_buffer("token_suffix", torch.zeros(actions, CONTEXT - 1 - LEARNED, TEXT))
        self.aff_proj = nn.Module()
        self.aff_proj.norm = nn.LayerNorm(2 * dim)
        self.aff_proj.fc1 = nn.Linear(2 * dim, 2 * dim)
        self.aff_proj.fc2 = nn.Linear(2 * dim, dim)
        self.Hamburger = nn.Module()
        self.Hamburger.lower_bread = nn.Sequential(nn.Conv2d(dim, 512, 1), nn.ReLU())
        self.Hamburger.upper_bread = nn.Sequential(nn.Conv2d(512, dim, 1, bias=False), nn.BatchNorm2d(dim))
        for name in "aff_exo_proj", "aff_ego_proj":
            setattr(self, name, nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1), nn.BatchNorm2d(dim), nn.ReLU()))
        self.attnpool = nn.Module()
        self.attnpool.positional_embedding = nn.Parameter(torch.zeros(1 + patches, dim))
        for name, width in ("q_proj", dim), ("k_proj", dim), ("v_proj", dim), ("c_proj", SHARED):
            setattr(self.attnpool, name, nn.Linear(dim, width))
        self.fc = nn.Linear(dim, actions)

    def adapted(self, keys):
        project = self.aff_proj
        x = project.fc2(F.gelu(project.fc1(project.norm(keys))))
        return x.transpose(1, 2).unflatten(2, (WSMA_TOY["grid"],) * 2)

    def transferred(self, x):
        """The pictures of one sample at a time."""
        maps = self.Hamburger.lower_bread(x)
        start = (models.uniform("ham.bases", (512, 64)) + 1) / 2
        start = start / start.norm(dim=0)
        common = []
        for sample in maps.unflatten(0, (-1, EXO_PER_EGO)):
            v = torch.cat([one.flatten(1) for one in sample], dim=1)
            with torch.no_grad():
                bases, coefficients = start, torch.softmax(v.T @ start, dim=1)
                for _ in range(6):
                    coefficients = coefficients * (v.T @ bases) / (coefficients @ bases.T @ bases + 1e-6)
                    bases = bases * (v @ coefficients) / (bases @ coefficients.T @ coefficients + 1e-6)
            coefficients = coefficients * (v.T @ bases) / (coefficients @ bases.T @ bases + 1e-6)
            explained = (bases @ coefficients.T).chunk(EXO_PER_EGO, dim=1)
            common += [one.unflatten(1, maps.shape[-2:]) for one in explained]
        return F.relu(self.Hamburger.upper_bread(torch.stack(common)) + x)

    def texts(self):
        rows = [[49406] + [343] * LEARNED + name + [269, 49407] for name in NAMES]
        ends = [len(row) - 1 for row in rows]
        tokens = torch.tensor([row + [0] * (CONTEXT - len(row)) for row in rows])
        prompt = self.prompt_learner
        x = torch.cat([prompt.token_prefix, prompt.ctx.expand(len(rows), -1, -1), prompt.token_suffix], dim=1)
        x = x + self.token_embedding(tokens) + self.positional_embedding
        later = torch.full((CONTEXT, CONTEXT), -math.inf).triu(1)
        for block in self.transformer.resblocks:
            x = block(x, later)
        return torch.stack([self.ln_final(x[i, end]) for i, end in enumerate(ends)]) @ self.text_projection

    def pooled(self, x):
        pool = self.attnpool
        x = x.flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(0, keepdim=True), x]) + pool.positional_embedding[:, None]
        projections = pool.q_proj, pool.k_proj, pool.v_proj
        out, _ = F.multi_head_attention_forward(
            x, x, x, x.shape[-1], 64, None, torch.cat([p.bias for p in projections]), None, None, False, 0.0,
            pool.c_proj.weight, pool.c_proj.bias, use_separate_proj_weight=True, need_weights=False,
            q_proj_weight=pool.q_proj.weight, k_proj_weight=pool.k_proj.weight, v_proj_weight=pool.v_proj.weight,
        )  # fmt: skip
        return out[0], out[1:]


def deep_keys(network, name, pictures):
    """Keys of the last two blocks, from the tokens that entered these."""
    record, side = models.Recorder(), WSMA_TOY["grid"] * WSMA_TOY["patch"]
    vit = network.vit_model
    with torch.no_grad():
        vit(models.image(name, (pictures, 3, side, side)), record)
        keys = []
        for index in (1, 2):
            block = vit.blocks[index]
            _, key, _ = block.attn(block.norm1(record.entries[f"vit_model.blocks.{index - 1}"]))
            keys.append(torch.stack([key[:, h, 1:] for h in range(key.shape[1])], dim=-1).flatten(2))
    return torch.cat(keys, dim=-1)


def wsma():
    network = models.seeded(Wsma(ACTIONS)).train()
    b = len(LABELS)
    exo = network.transferred(network.adapted(deep_keys(network, "losses.exo", b * EXO_PER_EGO)))
    exo = network.aff_exo_proj(exo).unflatten(0, (b, EXO_PER_EGO))
    ego = network.adapted(deep_keys(network, "losses.ego", b))
    texts = F.normalize(network.texts(), dim=1)
    picture, patches = network.pooled(ego)
    patches = F.normalize(patches, dim=1)
    gates = []
    for i, label in enumerate(LABELS):
        likeness = F.normalize(patches[:, i] @ texts[label], dim=0)
        gates.append(1 + torch.sigmoid(likeness).unflatten(0, ego.shape[-2:]))
    ego = network.aff_ego_proj(ego * torch.stack(gates)[:, None])

    labels = torch.tensor(LABELS)
    score = lambda features: network.fc(features.mean((-2, -1)))
    exo_cls = sum(F.cross_entropy(score(exo[:, n]), labels) for n in range(EXO_PER_EGO)) / EXO_PER_EGO
    logits = network.logit_scale.exp() * F.normalize(picture, dim=1) @ texts.T
    d, lrela = [], []
    for i, label in enumerate(LABELS):
        weight, views = network.fc.weight, (exo[i].mean(0), ego[i])
        own = [F.normalize((weight[label][:, None, None] * view).mean((1, 2)), dim=0) for view in views]
        d.append(0.5 * ((own[0] - own[1]) ** 2).sum())
        maps = [torch.stack([(w[:, None, None] * view).mean(0).flatten() for w in weight]) for view in views]
        relations = [F.normalize(m @ m.T, dim=1).flatten() for m in maps]
        lrela.append(0.5 * (1 - F.cosine_similarity(*relations, dim=0)))
    terms = dict(ego_cls=F.cross_entropy(score(ego), labels), exo_cls=exo_cls, clip=F.cross_entropy(logits, labels))
    terms |= dict(d=sum(d) / b, lrela=sum(lrela) / b)
    return network, terms, dict.fromkeys(terms, 1)


CASES = dict(looptrans=looptrans, locate=locate, wsma=wsma)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=CASES)
    parser.add_argument("out")
    parser.add_argument("--checkpoint", help="save the network as well, as its own training would")
    arguments = parser.parse_args()
    network, terms, weights = CASES[arguments.case]()
    total = sum(weights[name] * term for name, term in terms.items())
    total.backward()
    entries = {f"losses.{name}": term.detach() for name, term in terms.items()} | {"total": total.detach()}
    for name, value in network.named_parameters():
        if value.grad is not None:
            entries[f"gradient_norms.{name}"] = value.grad.norm()
    models.write_safetensors(entries, arguments.out)
    if arguments.checkpoint:
        torch.save(network.state_dict(), arguments.checkpoint)


if __name__ == "__main__":
    main()

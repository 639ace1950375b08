"""HM-VGG in PyTorch: the twin that the tests and the benchmarks compare with.

The network of arXiv 2410.24046 (Eqs. 1-11, Figs. 1-3) with the same options, defaults and parameter names
as the C++ model, in the same order, so that a state_dict of one is a state_dict of the other. Written for
PyTorch 1.13 and later; torchvision is not needed. Images are N,C,H,W here.

    model = HMVGG(modalities=("fundus", "vf"), fusion="late")
    logits = model({"fundus": x, "vf": v}, {"vf": has_vf})     # has_vf: N booleans
"""

import torch
from torch import nn
from torch.nn import functional as F

WIDTHS = (64, 128, 256, 512, 512)
CONVS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
REDUCTION = 16
HIDDEN = 64


def vgg_features(backbone, bn, in_channels):
    """torchvision's vgg.features (indices included), and the index at which each block's max-pool stands."""
    layers, pools, channels = [], [], in_channels
    for width, convs in zip(WIDTHS, CONVS[backbone]):
        for _ in range(convs):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if bn:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            channels = width
        pools.append(len(layers))
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers), pools


class HAM(nn.Module):
    """Eqs. 5-10: a spatial and a channel attention, combined at every pixel."""

    def __init__(self, channels, variant="paper"):
        super().__init__()
        self.variant = variant
        self.spatial = nn.Conv2d(channels, 1, 1)
        self.fc1 = nn.Linear(channels, channels // REDUCTION)
        self.fc2 = nn.Linear(channels // REDUCTION, channels)

    def forward(self, r):
        s = torch.sigmoid(self.spatial(r))
        w = torch.sigmoid(self.fc2(F.relu(self.fc1(r.mean((2, 3))))))[:, :, None, None]
        if self.variant == "scse":
            return r * s + r * w
        return r * torch.sigmoid(r * s + r * w)


class ConvBn(nn.Module):
    """3x3 convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels, out_channels, stride=1, dilation=1):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class MLRM(nn.Module):
    """Eq. 11: convolutions of several dilations beside the identity, summed, or concatenated and merged."""

    def __init__(self, channels, rates=(1, 2, 4), fuse="sum"):
        super().__init__()
        self.branches = nn.ModuleList(ConvBn(channels, channels, dilation=d) for d in rates)
        if fuse == "concat" and rates:
            self.merge = nn.Conv2d(len(rates) * channels, channels, 1)

    def forward(self, x):
        parts = [branch(x) for branch in self.branches]
        if hasattr(self, "merge"):
            return x + self.merge(torch.cat(parts, 1))
        for part in parts:
            x = x + part
        return x


class Stream(nn.Module):
    """One image to its features f; `taps` are the VGG blocks that HAM sees."""

    def __init__(self, in_channels, backbone, bn, taps, ham_variant, mlrm_rates, mlrm_fuse, shortcut):
        super().__init__()
        self.taps = tuple(taps)
        low, mid, last = (WIDTHS[t - 1] for t in taps)
        self.features, self.pools = vgg_features(backbone, bn, in_channels)
        for tap in taps:
            setattr(self, "ham%d" % tap, HAM(WIDTHS[tap - 1], ham_variant) if ham_variant != "none" else nn.Identity())
        setattr(self, "down%d" % taps[1], ConvBn(mid, last, 2))
        setattr(self, "down%d" % taps[0], nn.Sequential(ConvBn(low, mid, 2), ConvBn(mid, last, 2)))
        self.mlrm1 = MLRM(last, mlrm_rates, mlrm_fuse)
        self.mlrm2 = MLRM(last, mlrm_rates, mlrm_fuse)
        if shortcut:
            self.shortcut = nn.Conv2d(WIDTHS[-1], last, 1)

    def blocks(self, x):
        """R1..R5: each block's output after its last ReLU, before its max-pool."""
        outputs, start = [], 0
        for pool in self.pools:
            x = self.features[start:pool](x)
            outputs.append(x)
            start = pool
        return outputs

    def maps(self, x):
        """The named intermediate maps, H3, H4, H5, R5, M1, M2 with the default taps."""
        r = self.blocks(x)
        h = [getattr(self, "ham%d" % tap)(r[tap - 1]) for tap in self.taps]
        m1 = self.mlrm1(getattr(self, "down%d" % self.taps[1])(h[1]) + h[2])
        m2 = self.mlrm2(getattr(self, "down%d" % self.taps[0])(h[0]) + m1)
        named = {"H%d" % tap: value for tap, value in zip(self.taps, h)}
        named.update(R5=r[-1], M1=m1, M2=m2)
        return named

    def forward(self, x):
        maps = self.maps(x)
        m2 = maps["M2"].mean((2, 3), keepdim=True)
        if not hasattr(self, "shortcut"):
            return m2.flatten(1)
        r5 = maps["R5"].mean((2, 3), keepdim=True)
        return (m2 + self.shortcut(r5)).flatten(1)


class HMVGG(nn.Module):
    def __init__(
        self,
        classes=3,
        backbone="vgg11",
        bn=False,
        taps=(3, 4, 5),
        ham_variant="paper",
        mlrm_rates=(1, 2, 4),
        mlrm_fuse="sum",
        modalities=("fundus",),
        fusion="late",
        oct_channels=3,
        shortcut=True,
    ):
        super().__init__()
        self.modalities, self.fusion = tuple(modalities), fusion
        self.width = WIDTHS[taps[-1] - 1]
        channels = {"fundus": 3, "oct": oct_channels, "vf": 1}
        options = (backbone, bn, tuple(taps), ham_variant, tuple(mlrm_rates), mlrm_fuse, shortcut)
        if fusion == "early":
            self.early = Stream(sum(channels[m] for m in modalities), *options)
        else:
            for m in modalities:
                setattr(self, m, Stream(channels[m], *options))
        streams = 1 if fusion == "early" else len(self.modalities)
        self.classifier = nn.Sequential(
            nn.Linear(streams * self.width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes)
        )

    def forward(self, images, present=None):
        """`images`: modality -> N,C,H,W (or one tensor, for one modality). `present`: modality -> N booleans;
        a modality that is not in it is there for every sample."""
        if not isinstance(images, dict):
            images = {self.modalities[0]: images}
        present = present or {}
        if self.fusion == "early":
            parts = [self._masked(images[m], present.get(m)) for m in self.modalities]
            return self.classifier(self.early(torch.cat(parts, 1)))
        parts = [self._late(getattr(self, m), images[m], present.get(m)) for m in self.modalities]
        return self.classifier(torch.cat(parts, 1))

    @staticmethod
    def _masked(x, has):
        return x if has is None else torch.where(has[:, None, None, None], x, torch.zeros_like(x))

    def _late(self, stream, x, has):
        if has is None or bool(has.all()):
            return stream(x)
        features = x.new_zeros(x.shape[0], self.width)
        if not bool(has.any()):
            return features
        rows = has.nonzero()[:, 0]
        return features.index_copy(0, rows, stream(x[rows]))

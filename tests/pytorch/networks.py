# SPDX-License-Identifier: Apache-2.0
"""Networks as people write them, small: what the tests of the structure look at."""

import torch
import torch.nn.functional as F
from torch import nn


class Functional(nn.Module):
    """Activations are functions, and the last one should not be there."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(10, 20)
        self.second = nn.Linear(20, 20)
        self.last = nn.Linear(20, 4)

    def forward(self, x):
        x = F.leaky_relu(self.first(x), 0.2)
        return F.softmax(self.last(torch.sigmoid(self.second(x))), -1)


class Convolutional(nn.Module):
    """One activation module for all, in place."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2)
        self.bn2 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(144, 10)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.fc(self.pool(x).flatten(1))


class LeNet(nn.Module):
    """Pooling before and behind the activation, both as functions."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 5)
        self.conv2 = nn.Conv2d(4, 8, 5)
        self.fc1 = nn.Linear(128, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.dropout(F.relu(self.fc1(x.view(-1, 128))), training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """As in torchvision, two stages."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(BasicBlock(8, 8), BasicBlock(8, 8))
        self.layer2 = nn.Sequential(BasicBlock(8, 16, 2), BasicBlock(16, 16))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.avgpool(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(x, 1))


class PreActivation(nn.Module):
    """Residual blocks that begin with the norm; what follows the last sum are functions."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1 = nn.BatchNorm2d(4)
            self.conv1 = nn.Conv2d(4, 4, 3, padding=1)
            self.norm2 = nn.BatchNorm2d(4)
            self.conv2 = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            y = self.conv1(F.relu(self.norm1(x)))
            return x + 0.5 * self.conv2(F.relu(self.norm2(y)))

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.blocks = nn.Sequential(self.Block(), self.Block())
        self.fc = nn.Linear(64, 3)

    def forward(self, x):
        return self.fc(F.avg_pool2d(F.relu(self.blocks(self.stem(x))), 2).flatten(1))


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        batch, steps, width = x.shape
        q, k, v = self.qkv(x).view(batch, steps, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.drop(self.proj(y.transpose(1, 2).reshape(batch, steps, width)))


class GPTBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln1 = nn.LayerNorm(width)
        self.attn = Attention(width)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1)
        )

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    """By hand, with the embedding tied to the head."""

    def __init__(self, layers=2, width=16, vocabulary=30, steps=8):
        super().__init__()
        self.tok = nn.Embedding(vocabulary, width)
        self.pos = nn.Embedding(steps, width)
        self.blocks = nn.ModuleList(GPTBlock(width) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tok.weight

    def forward(self, tokens):
        x = self.pos(torch.arange(tokens.shape[1])) + self.tok(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x)).flatten(0, 1)


class Encoder(nn.Module):
    """PyTorch's own transformer layers."""

    def __init__(self, norm_first):
        super().__init__()
        self.embed = nn.Linear(5, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.encoder(self.embed(x)).mean(1))


class VisionTransformer(nn.Module):
    """Parameters of its own beside its modules'."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(1, 8, 2, 2)
        self.cls = nn.Parameter(torch.zeros(1, 1, 8))
        self.pos = nn.Parameter(torch.randn(1, 17, 8) * 0.02)
        self.layer = nn.TransformerEncoderLayer(
            8, 2, 16, batch_first=True, norm_first=True, activation="gelu"
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.head(self.layer(x)[:, 0])


class ScaledBlock(nn.Module):
    """ConvNeXt's: the norm looks along the channels, the branch is scaled by a parameter."""

    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((8,), 0.1))
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm = nn.LayerNorm(8)
        self.wide = nn.Linear(8, 32)
        self.act = nn.GELU()
        self.narrow = nn.Linear(32, 8)

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.narrow(self.act(self.wide(y)))
        return x + y.permute(0, 3, 1, 2)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1 = nn.Conv2d(1, 4, 3, padding=1)
        self.down2 = nn.Conv2d(4, 8, 3, padding=1, stride=2)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.out = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x):
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(a))
        return self.out(torch.cat([F.relu(self.up(b)), a], 1))


class DenseNet(nn.Module):
    class Layer(nn.Module):
        def __init__(self, inputs):
            super().__init__()
            self.norm = nn.BatchNorm2d(inputs)
            self.conv = nn.Conv2d(inputs, 4, 3, padding=1)

        def forward(self, x):
            return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = nn.Sequential(self.Layer(4), self.Layer(8))
        self.norm = nn.BatchNorm2d(12)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 3)

    def forward(self, x):
        return self.fc(self.pool(F.relu(self.norm(self.block(self.stem(x))))).flatten(1))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Linear(4, 8)
        self.right = nn.Linear(6, 8)
        self.fuse = nn.Linear(16, 8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x, y):
        z = torch.cat([F.relu(self.left(x)), F.relu(self.right(y))], 1)
        return self.fc(torch.tanh(self.fuse(z)))


class Siamese(nn.Module):
    """Its trunk is called for both inputs; a sum stands in it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.branch = nn.Linear(8, 8)
        self.after = nn.Linear(8, 8)

    def one(self, x):
        h = F.relu(self.first(x))
        return self.after(h + F.relu(self.branch(h)))

    def forward(self, x, y):
        return (self.one(x) - self.one(y)).pow(2).sum(1)


class LSTMClassifier(nn.Module):
    def __init__(self, reads):
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.fc = nn.Linear(8, 3)
        self.reads = reads

    def forward(self, x):
        out, (h, _) = self.lstm(self.embed(x))
        return self.fc(
            {"states": out[:, -1], "last": h[-1], "both": out[:, -1] + h[-1]}[self.reads]
        )


class CellLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(4, 8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        h = torch.zeros(len(x), 8)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.fc(h)


class Heads(nn.Module):
    """A head for training alone, and one that is never used."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Linear(4, 8)
        self.aux = nn.Linear(8, 3)
        self.deep = nn.Linear(8, 8)
        self.never = nn.Linear(3, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = F.relu(self.trunk(x))
        return self.head(F.relu(self.deep(h))), self.aux(h)


class FunctionalWeights(nn.Module):
    """A module's weights without its call."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.middle = nn.Linear(8, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = F.relu(self.first(x))
        return self.last(F.relu(F.linear(x, self.middle.weight, self.middle.bias)))


class RandomNet(nn.Module):
    """Linear layers that read one earlier tensor or the sum of two, with and without activation;
    some are called twice. Drawn from a seed."""

    def __init__(self, seed, n=8):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(n))
        draw = torch.Generator().manual_seed(seed)

        def number(below):
            return int(torch.randint(below, (1,), generator=draw))

        self.plan = []
        for k in range(n + 2):
            layer = k if k < n else number(n)  # two calls of modules that were called already
            sources = [number(k + 1) for _ in range(1 + number(2))]
            self.plan.append((layer, sources, number(4)))

    def forward(self, x):
        made = [x]
        for layer, sources, then in self.plan:
            y = made[sources[0]]
            for other in sources[1:]:
                y = y + made[other]
            y = self.layers[layer](y)
            made.append(F.relu(y) if then == 0 else torch.tanh(y).view_as(y) if then == 1 else y)
        return made[-1] + made[-2]

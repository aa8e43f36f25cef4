# SPDX-License-Identifier: Apache-2.0
"""The walk of the graph and what it says of paths, against brute force on random graphs."""

import random
import unittest

import networks
import torch
from discovering import cut_points, discover
from torch import nn

from backprobe import graph


class Node:
    """As much of a node of PyTorch's graph as a walk reads."""

    def __init__(self, name, inputs, number):
        self.label, self.inputs, self.number = name, inputs, number

    def name(self):
        return self.label

    def _sequence_nr(self):
        return self.number

    @property
    def next_functions(self):
        return self.inputs


def nothing(name, node):
    return None


def random_flow(seed):
    """Operations that read one to three earlier ones; every third is a call; the loss reads all
    that nothing else reads."""
    draw = random.Random(seed)
    nodes, calls = [], []
    for k in range(draw.randrange(4, 16)):
        readable = draw.sample(nodes, min(len(nodes), draw.randrange(1, 4)))
        node = Node("OpBackward0", tuple((n, 0) for n in readable), k)
        nodes.append(node)
        if k == 0 or draw.random() < 0.4:
            calls.append((readable, node))
    read = {id(n) for node in nodes for n, _ in node.inputs}
    ends = tuple((n, 0) for n in nodes if id(n) not in read)
    root = Node("LossBackward0", ends, len(nodes))
    walked = graph.walk(root, nothing)
    number = walked.number
    regions = [
        graph.Region([(number[n], 0) for n in given], [(number[made], 0)]) for given, made in calls
    ]
    return graph.Flow(walked, regions), walked


def reaches(walked, start, goals, without):
    seen, waiting = {start}, [start]
    while waiting:
        v = waiting.pop()
        for w, _ in walked.inputs[v]:
            if w in without or w in seen:
                continue
            if w in goals:
                return True
            seen.add(w)
            waiting.append(w)
    return start in goals


class Paths(unittest.TestCase):
    SEEDS = range(400)

    def flows(self):
        for seed in self.SEEDS:
            flow, walked = random_flow(seed)
            sources = flow.first_calls()
            flow.from_sources(sources)
            made = {walked_node: v for v, walked_node in self.nodes_of(flow)}
            goals = {node for node, v in made.items() if v in sources}
            yield seed, flow, walked, made, goals

    @staticmethod
    def nodes_of(flow):
        """(vertex, node): each call here is one node."""
        for node in range(len(flow.graph.names)):
            yield flow.maker((node, 0)), node

    def test_cut_points(self):
        n_cuts = 0
        for seed, flow, walked, made, goals in self.flows():
            for node in made:
                if node == 0:
                    continue
                expected = not reaches(walked, 0, goals, {node}) and reaches(
                    walked, 0, {node}, set()
                )
                on_path = node in goals or reaches(walked, node, goals, set())
                self.assertEqual(flow.separates([(node, 0)]), expected and on_path, (seed, node))
                n_cuts += expected
        self.assertGreater(n_cuts, 200)

    def test_pairs_that_cut_together(self):
        n_cuts = 0
        for seed, flow, walked, made, goals in self.flows():
            nodes = [n for n in made if n]
            for a in nodes:
                for b in nodes[: nodes.index(a)]:
                    both = not reaches(walked, 0, goals, {a, b})
                    met = all(
                        reaches(walked, 0, {x}, {y})
                        and (x in goals or reaches(walked, x, goals, set()))
                        for x, y in ((a, b), (b, a))
                    )
                    self.assertEqual(flow.separates([(a, 0), (b, 0)]), both and met, (seed, a, b))
                    n_cuts += both and met
        self.assertGreater(n_cuts, 100)

    def test_blocks_begin_at_the_nearest_cut_point(self):
        n_blocks = 0
        for seed, flow, walked, made, goals in self.flows():
            for node, v in made.items():
                if flow.place[v] < 0:
                    continue
                cuts = [
                    d
                    for d in made
                    if d != node
                    and reaches(walked, node, {d}, set())
                    and not reaches(walked, node, goals, {d})
                ]
                cuts = [d for d in cuts if d in goals or reaches(walked, d, goals, set())]
                block = flow.block_of(v)
                if not cuts or node in goals:
                    self.assertIsNone(block, (seed, node))
                    continue
                nearest = [
                    d for d in cuts if all(d == e or reaches(walked, d, {e}, set()) for e in cuts)
                ]
                self.assertEqual(block[0], made[nearest[0]], (seed, node))
                inside = {
                    made[u]
                    for u in made
                    if u not in (node, nearest[0])
                    and reaches(walked, node, {u}, {nearest[0]})
                    and reaches(walked, u, {nearest[0]}, set())
                    and (u in goals or reaches(walked, u, goals, set()))
                }
                self.assertEqual(block[1], inside, (seed, node))
                n_blocks += len(inside) > 1
        self.assertGreater(n_blocks, 50)

    def test_networks_drawn_at_random(self):
        """From modules to layers: every cut point, and nothing else, has depth 0."""
        n_cuts = n_twice = 0
        for seed in range(250):
            torch.manual_seed(seed)
            model = networks.RandomNet(seed)
            x = torch.randn(5, 4)

            def step():
                return model(x).sum(), ()  # noqa: B023

            found = discover(model, step)
            expected = cut_points(model, step, found, None)
            zero = {n for n, layer in enumerate(found.layers, 1) if layer["depth_in_blocks"] == 0}
            self.assertEqual(zero, expected, seed)
            n_cuts += len(zero)
            n_twice += sum(len(set(s)) < len(s) for _, s, _ in model.plan)
        self.assertGreater(n_cuts, 150)


class Walk(unittest.TestCase):
    def test_a_long_graph_is_cut_short(self):
        model = nn.Linear(4, 4)
        x = torch.randn(2, 4)
        for _ in range(50):
            x = model(x)
        walked = graph.walk(x.sum().grad_fn, nothing, limit=20)
        self.assertTrue(walked.cut_short)
        self.assertEqual(len(walked.names), 20)
        self.assertFalse(graph.walk(x.sum().grad_fn, nothing).cut_short)

    def test_deep_graphs_need_no_deep_stack(self):
        x = torch.ones(1, requires_grad=True)
        for _ in range(5000):
            x = x + 1
        walked = graph.walk(x.grad_fn, nothing)
        self.assertEqual(len(walked.names), 5001)
        flow = graph.Flow(walked, [])
        flow.from_sources(flow.first_calls())
        self.assertFalse(flow.separates([(3, 0)]))

    def test_no_saved_tensor_is_unpacked(self):
        """That may run code of the user's."""
        unpacked = []

        def unpack(tensor):
            unpacked.append(tensor)
            return tensor

        model = networks.Functional()
        x = torch.randn(5, 10)
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpack):
            output = model(x)
            loss = output.square().mean()
        from backprobe import modules

        graph.walk(loss.grad_fn, modules.look)
        self.assertEqual(unpacked, [])


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""`meson install` of build/release: a program that knows pkg-config alone builds and runs."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

PROGRAM = """#include <backprobe/watch.h>
#include <stdio.h>
int main(void) {
    bp_model *model = NULL;
    if (bp_model_open(&model, NULL) != BP_OK) return 1;
    bp_model_close(model);
    return puts(bp_version()) < 0;
}
"""
TRAINING = """#include <backprobe/train.h>
#include <stdio.h>
int main(void) {
    bp_dataset *digits = NULL;
    if (bp_dataset_open(&digits, "digits", NULL, NULL) != BP_OK) return 1;
    printf("%d\\n", (int)digits->n_outputs);
    bp_dataset_close(digits);
    return 0;
}
"""


def run(*command, **options) -> str:
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(words)}\n{result.stdout}{result.stderr}")
    return result.stdout


class TheHouse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        run(
            "meson", "install", "-C", ROOT / "build/release", "--no-rebuild",
            env={**os.environ, "DESTDIR": str(cls.root)},
        )  # fmt: skip
        (config,) = cls.root.rglob("backprobe.pc")
        for path in config.parent.glob("*.pc"):
            path.write_text(re.sub("(?m)^prefix=", f"prefix={cls.root}", path.read_text()))
        cls.libraries = config.parent.parent
        cls.environment = {
            **os.environ,
            "PKG_CONFIG_PATH": str(config.parent),
            "LD_LIBRARY_PATH": str(cls.libraries),
        }

    def pkg_config(self, *words):
        return run("pkg-config", *words, env=self.environment).split()

    def build_and_run(self, program, *flags):
        command = ["gcc", "-x", "c", "-", "-x", "none", "-o", self.root / "program", *flags]
        run(*command, input=program)
        return run(self.root / "program", env=self.environment).strip()

    def archive(self, name):
        return str(self.libraries / f"lib{name}.a")

    def test_program_with_the_core(self):
        (version,) = self.pkg_config("--modversion", "backprobe")
        flags = self.pkg_config("--cflags", "--libs", "backprobe")
        self.assertEqual(self.build_and_run(PROGRAM, *flags), version)
        flags = self.pkg_config("--cflags", "backprobe") + [self.archive("backprobe"), "-lm"]
        self.assertEqual(self.build_and_run(PROGRAM, *flags), version)

    def test_program_with_the_trainer(self):
        flags = self.pkg_config("--cflags", "--libs", "backprobe-train")
        self.assertEqual(self.build_and_run(TRAINING, *flags), "10")
        flags = self.pkg_config("--cflags", "backprobe-train")
        flags += [self.archive("backprobe-train"), self.archive("backprobe"), "-lm"]
        flags += self.pkg_config("--libs", "yaml-0.1", "zlib", "openblas")
        self.assertEqual(self.build_and_run(TRAINING, *flags), "10")

    def test_command_and_its_papers(self):
        installed = {path.name for path in self.root.rglob("*")}
        self.assertLessEqual({"backprobe", "backprobe.1", "backprobe-train.pc"}, installed)


if __name__ == "__main__":
    unittest.main()

"""What the page of GPU results tells of files that are made up, and of those in the project."""

import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from gpu.page import page
from gpu.results import Outcome, Results, Unreadable, all_results

GPU = "cpu: 2 threads\ncuda: NVIDIA H200, 132 multiprocessors\n  NVRTC 13.0"


class Page(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.results = self.folder / "results"

    def leave(self, commit, date, **items):
        results = Results(self.results / f"{date[:10]}-{commit}.json", {"date": date, "commit": commit, "device": GPU, "stages": {}})
        for name, outcome in items.items():
            results.keep(*name.split("__"), outcome)

    def test_the_page_says_not_run_until_a_file_tells_otherwise(self):
        text = page([], ROOT)
        self.assertIn("| products, the ladder | `kernel_code_test` | `matmul_test`, `matmul_mma_test` | not run | not run |", text)
        self.assertIn("No GPU could be had yet", text)
        rung = {"of": "warps", "teraflops": 41.5}
        self.leave("old1234", "2027-01-01T10:00:00Z", correctness__matmul_ladder=Outcome("failed", "wrong | broken"))
        self.leave("new1234", "2027-01-02T10:00:00Z", correctness__matmul_ladder=Outcome("passed"),
                   kernels__matmul_ladder=Outcome("passed", figures=[{"of": "elements", "teraflops": 2.0}, rung]),
                   sanitizers__memcheck=Outcome("refused", "not supported"))
        text = page(all_results(self.results), ROOT)
        self.assertIn("| passed (2027-01-02, new1234) | warps: 41.5 TFLOP/s (2027-01-02, new1234) |", text)
        norms = [{"of": "layer_norm", "share_of_copy": share, "ratio": ratio} for share, ratio in ((0.93, 1.5), (0.81, 2.25))]
        self.leave("new1234", "2027-01-02T10:00:00Z", **{"kernels__norms and softmax": Outcome("passed", figures=norms)})
        self.assertIn("| 81 % to 93 % of the copy, 1.50x to 2.25x the fastest peer (2027-01-02, new1234) |", page(all_results(self.results), ROOT))
        self.leave("new1234", "2027-01-02T10:00:00Z", sanitizers__memcheck=Outcome("refused", "not supported"))
        text = page(all_results(self.results), ROOT)
        self.assertIn("| memcheck | refused | not supported |", text)
        self.assertIn("wrong \\| broken", text)
        self.assertLess(text.index("new1234\n\n```"), text.index("old1234\n\n```"))

    def test_a_file_that_is_none_of_ours_is_named(self):
        self.results.mkdir()
        for content in ("{", "[]", '{"date": 1, "commit": "a", "device": "b", "stages": {}}',
                        '{"date": "1", "commit": "a", "device": "b", "stages": {"kernels": {"x": {"status": "fine"}}}}'):
            (self.results / "bad.json").write_text(content)
            with self.assertRaisesRegex(Unreadable, "bad.json"):
                all_results(self.results)

    def test_a_column_names_tests_that_do_what_it_says(self):
        tests = self.folder / "tests" / "cuda"
        tests.mkdir(parents=True)
        (tests / "rows_test.cpp").write_text('#include "tests/support/on_cuda.h"')
        self.assertIn("| reductions and row programs | no | `rows_test` |", page([], self.folder))
        (tests / "rows_test.cpp").write_text("compile_cubin(nvrtc(), request)")
        self.assertIn("| reductions and row programs | `rows_test` | no |", page([], self.folder))

    def test_the_page_in_docs_tells_of_every_file(self):
        text = (ROOT / "docs" / "gpu-results.md").read_text()
        runs = all_results(ROOT / "bench" / "results" / "gpu")
        for results in runs:
            self.assertIn(f"## {results.data['date'][:10]}, {results.data['commit']}\n", text)
        self.assertEqual("No GPU could be had yet" in text, not runs)


if __name__ == "__main__":
    unittest.main()

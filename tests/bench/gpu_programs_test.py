"""The programs that ./run gpu-check runs: as a build's folder has them, packed for another machine, and what they say."""

import contextlib
import io
import pathlib
import shutil
import sys
import tempfile
import time
import unittest
import unittest.mock

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import gpu_check
from gpu import checks
from gpu.programs import Programs, library_folders
from gpu.results import Results


class OfABuild(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        for part in ("tests", "examples", "bench"):
            (self.folder / part).mkdir()

    def test_packed_programs_are_those_of_a_build(self):
        for names in gpu_check.TARGETS.values():
            for name in names:
                folder = "tests" if name.startswith("test_") else "bench" if name.startswith("bench_") else "examples"
                shutil.copy("/bin/true", self.folder / folder / name)
        shutil.copy("/bin/true", self.folder / "bench" / "bench_device")
        archive = self.folder / "programs.tar.xz"
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.assertEqual(gpu_check.main(["pack", "--build", str(self.folder), "--to", str(archive), "--commit", "abc1234"]), 0)
        self.assertIn("programs.tar.xz: ", said.getvalue())
        programs = Programs(archive)
        self.addCleanup(programs.unpacked.cleanup)
        self.assertEqual(programs.call([programs.path("test_cuda")], 10), (0, ""))
        self.assertEqual(gpu_check.commit_of(programs), "abc1234")
        self.assertEqual(programs.environment["LD_LIBRARY_PATH"].split(":")[0], str(programs.build / "lib"))
        self.assertEqual(programs.why_no_gpu(), ("bench_device says nothing of CUDA (status 0): ", ""))

    def test_a_build_without_a_program_is_not_packed(self):
        with self.assertRaisesRegex(SystemExit, "not built in .*: ad_spend, bench_device, "):
            gpu_check.main(["pack", "--build", str(self.folder)])

    def test_what_is_no_archive_of_programs_is_told_in_a_line(self):
        archive = self.folder / "programs.tar.xz"
        archive.write_bytes(b"none")
        with self.assertRaisesRegex(SystemExit, "gpu-check: .*programs.tar.xz: no programs that pack wrote, or not all of them: "):
            gpu_check.main(["look", "--build", str(archive)])
        self.assertEqual(Programs(self.folder / "none").why_no_gpu(), (f"there is no {self.folder}/none", ""))

    def test_an_interrupted_stage_waits_for_no_item(self):
        program = self.folder / "tests" / "test_cuda"
        program.write_text("#!/bin/sh\n[ \"$1\" = --list_content ] && { printf 'maps*\\nrows*\\n'; exit 0; }\nexec sleep 60\n")
        program.chmod(0o755)
        programs = Programs(self.folder)
        todo = [item for item in checks.items(programs, "correctness") if item.name.startswith("test_cuda/")]
        start = time.monotonic()
        with self.assertRaises(KeyboardInterrupt), unittest.mock.patch("concurrent.futures.wait", side_effect=KeyboardInterrupt):
            gpu_check.run_stage("correctness", todo, Results(self.folder / "x.json", {"stages": {}}), 60, jobs=2, stop=programs.stop)
        self.assertLess(time.monotonic() - start, 30)

    def test_libraries_are_found_in_packages_of_the_interpreter(self):
        folder = self.folder / "lib" / "python3.12" / "site-packages" / "nvidia" / "cu13" / "lib"
        folder.mkdir(parents=True)
        (folder / "libnvrtc.so.13").touch()
        (folder.parents[1] / "empty" / "lib").mkdir(parents=True)
        python = self.folder / "bin" / "python3"
        self.assertEqual([found for found in library_folders(python) if found.startswith(str(self.folder))], [str(folder)])
        self.assertIn(str(folder), Programs(self.folder, python=python).environment["BLOCKGRAD_CUDA_LIBRARY_PATH"].split(":"))

    def test_suites_of_the_cpu_alone_are_left_out(self):
        program = self.folder / "tests" / "test_cuda"
        program.write_text("#!/bin/sh\nprintf 'harness*\\nmaps*\\nkernel_code*\\n'\n")
        program.chmod(0o755)
        names = [item.name for item in checks.items(Programs(self.folder), "correctness")]
        self.assertEqual([name for name in names if name.startswith("test_cuda/")], ["test_cuda/maps"])

    def test_the_first_errors_of_a_suite_are_told_and_crashes(self):
        said = "\n".join(["Running 9 test cases..."] + [f"x.cpp({i}): error: in \"maps/case_{i}\": wrong" for i in range(7)] + ["*** 7 failures"])
        detail = checks.test_outcome(201, said).detail
        self.assertTrue(detail.startswith('x.cpp(0): error: in "maps/case_0": wrong\n'))
        self.assertTrue(detail.endswith("\n7 errors"))
        self.assertEqual(checks.test_outcome(-11, "Running 9 test cases...").detail, "ended by signal 11: Running 9 test cases...")

    def test_a_suite_of_which_some_cases_were_skipped_has_passed(self):
        end = "*** No errors detected"
        outcome = checks.test_outcome(0, f"Running 3 test cases...\nskipped: it runs on the CPU alone\n{end}")
        self.assertEqual((outcome.status, outcome.detail), ("passed", "1 of 3 cases skipped: it runs on the CPU alone"))
        self.assertEqual(checks.test_outcome(0, f"Running 1 test case...\nskipped: no\n{end}").status, "skipped")


if __name__ == "__main__":
    unittest.main()

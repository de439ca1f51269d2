"""One peer at one number of threads on a device, driven line by line: `worker.py torch compile 2 cpu exact`.

It answers each line of JSON on standard input with one on standard output. {"load": FILE} makes the model, trains it
{"train": N} steps from its first values and tells the loss then; {"steps": N} trains on and tells the seconds.
"""

import json
import os
import sys
import time


def trainer_of(framework, mode, threads, device, math):
    if framework == "torch":
        import torch_peer

        return torch_peer.Peer(mode, threads, device, math)
    # Others use the GPU's memory too.
    os.environ |= {"JAX_PLATFORMS": device, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    import jax_peer

    return jax_peer.Peer(mode, device, math)


def keep_what_is_compiled(folder):
    """The next run of the same models need not compile them again."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(folder, "torch")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(folder, "jax")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def answer(peer, request):
    if "load" in request:
        return {"loss": peer.load(request["load"], request["train"])}
    start = time.perf_counter()
    done = peer.steps(request["steps"])
    seconds = time.perf_counter() - start
    return {"seconds": seconds * request["steps"] / done}


def main():
    framework, mode, threads, device, math = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
    # What libraries print must not be taken for an answer.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(content):
        print(json.dumps(content), file=replies, flush=True)

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)
    keep_what_is_compiled(os.path.join(sys.prefix, "compiled"))
    try:
        peer = trainer_of(framework, mode, threads, device, math)
        reply({"version": peer.version})
    except ImportError as error:
        reply({"error": f"{framework} is not installed: {error}"})
        return
    for line in sys.stdin:
        try:
            reply(answer(peer, json.loads(line)))
        except Exception as error:  # the benchmark prints it and goes on without this peer
            reply({"error": f"{type(error).__name__}: {str(error)[:300]}"})


main()

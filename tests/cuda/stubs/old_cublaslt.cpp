// A cuBLASLt of a version before the first that is taken.
extern "C" unsigned long cublasLtGetVersion() { return 111103; }

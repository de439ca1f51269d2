// A cuBLASLt of a version that is taken.
extern "C" unsigned long cublasLtGetVersion() { return 130100; }

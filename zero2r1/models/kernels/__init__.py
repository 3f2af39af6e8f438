"""Arithmetic in C++ for decoding on a CPU, compiled on the user's machine at first use."""

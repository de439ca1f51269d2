#pragma once
// A user's op with a kernel of its own, compiled into the user's own static library.
#include <blockgrad/blockgrad.h>

/// y_t = memory * y_(t-1) + (1 - memory) * x_t, from y_(-1) = 0. x: f32 [n] -> f32 [n].
blockgrad::Expr smooth(blockgrad::Arg x, double memory);

/// Gives the CPU the kernel of `smooth`. May be called again.
void add_smooth_kernel();

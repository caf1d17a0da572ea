/*
 * Found before the compiler's own <cpuid.h>: a guest knows no processor but the baseline it was compiled for. What the
 * host's processor can do would make answers depend on the machine, and the verifier refuses the instruction.
 */
#ifndef ZAPP_CPUID_H
#define ZAPP_CPUID_H

#define __cpuid_count(level, count, a, b, c, d) ((a) = (b) = (c) = (d) = 0)

#endif

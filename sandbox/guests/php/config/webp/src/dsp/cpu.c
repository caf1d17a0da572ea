/* In place of libwebp's own, which asks the processor: a guest knows the baseline it was compiled for (x86-64-v2) and no other. */
#include "src/dsp/cpu.h"

static int baseline(CPUFeature feature)
{
	return feature == kSSE2 || feature == kSSE3 || feature == kSSE4_1;
}

VP8CPUInfo VP8GetCPUInfo = baseline;

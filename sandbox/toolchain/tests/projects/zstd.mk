# zstd, its command line, and its tests that need one process and one thread. Guests must not ask the processor what it can
# do; zstd does not where it is not told that it is an x86.
L = $(S)/zstd/lib
P = $(S)/zstd/programs
T = $(S)/zstd/tests
FLAGS = -O2 -w -U__x86_64__ -DDYNAMIC_BMI2=0 -DZSTD_DISABLE_ASM -DXXH_NAMESPACE=ZSTD_ -DZSTD_NOTRACE -I$(L) -I$(L)/common \
	-I$(L)/compress -I$(L)/dictBuilder -I$(P)
VPATH = $(L)/common:$(L)/compress:$(L)/decompress:$(L)/dictBuilder:$(P):$(T)
names = $(patsubst %.c,%.o,$(notdir $(wildcard $(1))))
LIBRARY = $(call names,$(foreach part,common compress decompress dictBuilder,$(L)/$(part)/*.c))
CLI = $(filter-out zstdcli_trace.o,$(call names,$(P)/*.c))

all: zstd fuzzer zstreamtest datagen decodecorpus
	rm -f *.o
zstd: $(LIBRARY) $(CLI)
fuzzer: $(LIBRARY) util.o timefn.o datagen.o fuzzer.o
zstreamtest: $(LIBRARY) util.o timefn.o datagen.o seqgen.o external_matchfinder.o zstreamtest.o
datagen: util.o timefn.o datagen.o datagencli.o
# It includes the compressor.
decodecorpus: $(filter-out zstd_compress.o,$(LIBRARY)) util.o timefn.o decodecorpus.o
zstd fuzzer zstreamtest datagen decodecorpus:
	$(CC) -o $@ $^ -lm
%.o: %.c
	$(CC) $(FLAGS) -c $< -o $@
prepare:

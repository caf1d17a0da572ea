# QuickJS: the files of its makefile's `qjs`. Its prompt is JavaScript that its own compiler turns into C.
Q = $(S)/quickjs
FLAGS = -O2 -w -fwrapv -D_GNU_SOURCE -DCONFIG_VERSION=\"2025-04-26\" -DCONFIG_CC=\"cc\" -DCONFIG_PREFIX=\"/usr\" -I$(Q)
LIBRARY = quickjs.o libregexp.o libunicode.o cutils.o dtoa.o quickjs-libc.o

all: qjs
	rm -f *.o
qjs qjsc: $(LIBRARY)
	$(CC) -o $@ $^ -lm -lpthread -ldl
qjs: qjs.o repl.o
qjsc: qjsc.o
%.o: $(Q)/%.c
	$(CC) $(FLAGS) -c $< -o $@
prepare: qjsc
	./qjsc -s -c -o $(Q)/repl.c -m $(Q)/repl.js
	rm -f *.o qjsc

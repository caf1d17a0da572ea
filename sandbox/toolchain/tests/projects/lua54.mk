# Lua 5.4 by its own makefile: the benchmark's interpreter.
all:
	cp -r $(S)/lua build
	$(MAKE) -s -C build/src generic CC='$(CC) -std=gnu99'
	mv build/src/lua lua
	rm -rf build
prepare:

# Lua 5.1 by its own makefile.
all:
	cp -r $(S)/lua build
	$(MAKE) -s -C build/src generic CC='$(CC)'
	mv build/src/lua lua
	rm -rf build
prepare:

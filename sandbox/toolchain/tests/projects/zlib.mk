# zlib by its own configure script and makefile, with its three test programs.
all:
	cp -r $(S)/zlib build
	cd build && CC='$(CC)' ./configure --static >configure.out
	$(MAKE) -s -C build example minigzip infcover
	mv build/example build/minigzip build/infcover .
	rm -rf build
prepare:

# SQLite: the single file, its shell, and its benchmark.
Q = $(S)/sqlite
FLAGS = -O2 -w -DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE \
	-DSQLITE_ENABLE_DBSTAT_VTAB -DSQLITE_ENABLE_MATH_FUNCTIONS -DHAVE_USLEEP -DHAVE_READLINK=0 -DHAVE_FDATASYNC -I$(Q)

all: shell speedtest1
	rm -f *.o
shell: sqlite3.o shell.o
speedtest1: sqlite3.o speedtest1.o
shell speedtest1:
	$(CC) -o $@ $^ -lm
speedtest1.o: $(Q)/test/speedtest1.c
	$(CC) $(FLAGS) -c $< -o $@
%.o: $(Q)/%.c
	$(CC) $(FLAGS) -c $< -o $@
prepare:
	cd $(Q) && ./configure --disable-tcl --disable-readline >configure.out
	$(MAKE) -s -C $(Q) sqlite3.c shell.c

/*
 * Asks GLib whether patterns match. It reads lines of two words in hexadecimal
 * digits, pattern and text, each after a dot, and prints one character for each:
 * 1 or 0, or x if GLib left the memory of a string or aborted.
 *
 * It declares what it uses of GLib itself, so that no headers are needed:
 *     cc glob.c -o glob -l:libglib-2.0.so.0
 *
 * Every allocation ends at a page that may not be touched, so that no read
 * behind a string stays unseen.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern const unsigned glib_major_version, glib_minor_version, glib_micro_version;
int g_pattern_match_simple(const char *pattern, const char *string);

enum { PAGE = 4096 };

static size_t pages(size_t size) { return (size + sizeof size + PAGE - 1) / PAGE * PAGE; }

void *malloc(size_t size) {
	char *block = mmap(0, pages(size) + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (block == MAP_FAILED || mprotect(block + pages(size), PAGE, PROT_NONE))
		return 0;
	char *start = block + pages(size) - size;
	memcpy(start - sizeof size, &size, sizeof size);
	return start;
}

static size_t size_of(char *p) {
	size_t size;
	memcpy(&size, p - sizeof size, sizeof size);
	return size;
}

void free(void *p) {
	if (p)
		munmap((char *)p + size_of(p) - pages(size_of(p)), pages(size_of(p)) + PAGE);
}

void *calloc(size_t n, size_t size) { return malloc(n * size); }

void *realloc(void *p, size_t size) {
	char *q = malloc(size);
	if (p && q)
		memcpy(q, p, size_of(p) < size ? size_of(p) : size);
	free(p);
	return q;
}

static char *unhex(const char *digits) {
	size_t n = strlen(digits) / 2;
	char *text = calloc(n + 1, 1);
	for (size_t i = 0; i < n; i++) {
		unsigned octet;
		sscanf(digits + 2 * i, "%2x", &octet);
		text[i] = octet;
	}
	return text;
}

static char ask(const char *pattern, const char *text) {
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		int null = open("/dev/null", O_WRONLY);
		dup2(null, 1);
		dup2(null, 2);
		_exit(g_pattern_match_simple(pattern, text));
	}
	int status;
	if (child < 0 || waitpid(child, &status, 0) != child)
		return '?';
	return WIFEXITED(status) ? '0' + WEXITSTATUS(status) : 'x';
}

int main(void) {
	static char line[1 << 16], pattern[1 << 15], text[1 << 15];
	static char outbuf[1 << 16], inbuf[1 << 16];
	setvbuf(stdout, outbuf, _IOFBF, sizeof outbuf);
	setvbuf(stdin, inbuf, _IOFBF, sizeof inbuf);
	printf("GLib %u.%u.%u\n", glib_major_version, glib_minor_version, glib_micro_version);
	while (fgets(line, sizeof line, stdin)) {
		if (sscanf(line, "%32766s %32766s", pattern, text) != 2)
			return 1;
		char *p = unhex(pattern + 1), *t = unhex(text + 1);
		putchar(ask(p, t));
		free(p);
		free(t);
	}
	printf("\n");
	return 0;
}

/* tally: counts the lines and words of standard input. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* Lines of a text; the last one may lack its newline. */
static size_t count_lines(const char *text, size_t length)
{
    size_t lines = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\n') {
            lines++;
        }
    }
    return lines;
}

/* Words of a text: what stands between blanks. */
static size_t count_words(const char *text, size_t length)
{
    size_t words = 0;
    for (size_t i = 0; i < length; i++) {
        if (isspace((unsigned char)text[i])) {
            words++;
        }
    }
    return words;
}

int main(void)
{
    char *text = NULL;
    size_t length = 0;
    size_t room = 0;
    int byte;
    while ((byte = getchar()) != EOF) {
        if (length == room) {
            room = room ? room * 2 : 4096;
            char *more = realloc(text, room);
            if (more == NULL) {
                perror("tally");
                return 1;
            }
            text = more;
        }
        text[length++] = (char)byte;
    }
    printf("%zu lines, %zu words\n", count_lines(text, length), count_words(text, length));
    free(text);
    return 0;
}

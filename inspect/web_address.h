/* Where the observatory listens, its token, and which requests it believes.
 *
 * The token stands in the path, so that all addresses on the page, which are relative, carry it,
 * and no cookie is needed (cookies are shared by all ports of a host). A request must come with it;
 * its Host must be an address and not a name, which keeps out names that were bound anew to this
 * host; and what a page of another origin sends is refused. */
#ifndef RING3_INSPECT_WEB_ADDRESS_H
#define RING3_INSPECT_WEB_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/error.h"

#define WEB_TOKEN_LEN 32u /* hexadecimal digits: 128 bits */

struct web_listener {
    int fd; /* listens, never blocks; -1: there is none */
    bool loopback;
    char token[WEB_TOKEN_LEN + 1];
    char url[160];
};

/* "[ADDR:]PORT"; ADDR is 127.0.0.1 unless it is given, an IPv6 one stands in brackets. 0, or -1
 * with `error` filled. */
int web_parse_address(const char *text, struct sockaddr_storage *address, socklen_t *len,
                      struct error *error);
/* Listens there and makes a token. 0, or -1 with `error` filled. */
int web_listen(struct web_listener *listener, const char *text, struct error *error);
void web_close(struct web_listener *listener);

/* What stands behind "/TOKEN/" in a request's path, or NULL. Takes as long for any wrong token. */
const char *web_path_behind_token(const char *path, const char *token);
/* Is the Host header an address (or localhost), and for `loopback` one of this host's own? */
bool web_host_is_allowed(const char *host, bool loopback);
/* Is the page that sent the request ours? `origin` and `site` (Sec-Fetch-Site) may be NULL: no
 * browser. */
bool web_origin_is_allowed(const char *origin, const char *site, const char *host);

#endif

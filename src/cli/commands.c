#include "cli/cli.h"

const struct option_info cli_options[OPT_COUNT] = {
#define X(id, name, letter, value, about) {name, letter, value, about},
    CLI_OPTIONS(X)
#undef X
};

const char *const cli_groups[GROUP_COUNT] = {[GROUP_MACHINE] = "know the machine",
                                             [GROUP_WRITE] = "write a plugin",
                                             [GROUP_TRUST] = "decide whom to trust",
                                             [GROUP_HAVE] = "have it",
                                             [GROUP_RUN] = "run it",
                                             [GROUP_ALLOW] = "allow it",
                                             [GROUP_WATCH] = "watch it",
                                             [GROUP_SET] = "set it",
                                             [GROUP_SERVE] = "serve it"};

const struct command commands[] = {
    {"doctor", GROUP_MACHINE, "", "try every layer of the wall on this machine, and say how to get what is missing",
     "moat doctor", 0, 0, 0, run_doctor},

    {"new", GROUP_WRITE, "DIR", "start a plugin: manifest, source, Makefile, a test", "moat new word_count", 0, 1, 1,
     run_new},
    {"pack", GROUP_WRITE, "DIR --key FILE or --hmac or --unsigned [--expires TIME] [-o FILE]",
     "make a signed package of a plugin's directory", "moat pack word_count --key acme.key",
     OPT(KEY) | OPT(HMAC) | OPT(UNSIGNED) | OPT(EXPIRES) | OPT(OUTPUT), 1, 1, run_pack},
    {"inspect", GROUP_WRITE, "FILE [--key PUBFILE]",
     "look into a package, behind the wall: what it is, what it asks for, whether it would be accepted",
     "moat inspect word_count-0.1.0.moat --key acme.key.pub", OPT(KEY), 1, 1, run_inspect},
    {"validate", GROUP_WRITE, "FILE [--metadata JSON]",
     "would this home accept the package? every finding with its cure", "moat validate word_count-0.1.0.moat",
     OPT(METADATA), 1, 1, run_validate},

    {"keygen", GROUP_TRUST, "FILE", "make a publisher's key: FILE is secret, FILE.pub is for others",
     "moat keygen acme.key", 0, 1, 1, run_keygen},
    {"trust add", GROUP_TRUST, "NAME PUBFILE [--names PATTERN]", "trust a publisher's key",
     "moat trust add acme acme.key.pub --names 'acme_*'", OPT(NAMES), 2, 2, run_trust_add},
    {"trust list", GROUP_TRUST, "", "the publishers, their keys, and what they may publish", "moat trust list", 0, 0, 0,
     run_trust_list},
    {"trust revoke", GROUP_TRUST, "NAME [KEYID]", "revoke a publisher's key, or all of them", "moat trust revoke acme",
     0, 1, 2, run_trust_revoke},

    {"install", GROUP_HAVE, "FILE [--grant G]… [--load] [--use] [--allow-older] [--metadata JSON]",
     "verify a package and install it", "moat install word_count-0.1.0.moat --grant file_read=/data",
     OPT(GRANT) | OPT(LOAD) | OPT(USE) | OPT(ALLOW_OLDER) | OPT(METADATA), 1, 1, run_install},
    {"uninstall", GROUP_HAVE, "NAME[@VERSION] [--purge]", "remove a plugin, or one version of it",
     "moat uninstall word_count@0.1.0", OPT(PURGE), 1, 1, run_uninstall},
    {"list", GROUP_HAVE, "[--loaded]", "what is installed, or what is loaded", "moat list --loaded", OPT(LOADED), 0, 0,
     run_list},
    {"info", GROUP_HAVE, "NAME[@VERSION]", "all about one plugin", "moat info word_count", 0, 1, 1, run_info},
    {"use", GROUP_HAVE, "NAME@VERSION", "make a version the current one, live, without losing a call",
     "moat use word_count@0.2.0", 0, 1, 1, run_use},

    {"load", GROUP_RUN, "NAME", "start a plugin, now and with every server", "moat load word_count", 0, 1, 1, run_load},
    {"unload", GROUP_RUN, "NAME", "let running calls end and stop it; calls are refused until load",
     "moat unload word_count", 0, 1, 1, run_unload},
    {"reload", GROUP_RUN, "NAME", "the same version with fresh workers, without losing a call",
     "moat reload word_count", 0, 1, 1, run_reload},
    {"call", GROUP_RUN, "NAME ACTION [PARAMS or -] [--deadline TIME] [--receipt]",
     "run an action; PARAMS is JSON, - reads it from standard input", "moat call word_count count '{\"text\":\"a b\"}'",
     OPT(DEADLINE) | OPT(RECEIPT), 2, 3, run_call},
    {"stop-all", GROUP_RUN, "", "every worker is dead and calls are refused when this returns", "moat stop-all", 0, 0,
     0, run_stop_all},

    {"grant", GROUP_ALLOW, "NAME G", "give a plugin a right: a permission, or permission=scope",
     "moat grant word_count file_read=/data", 0, 2, 2, run_grant},
    {"refuse", GROUP_ALLOW, "NAME PERMISSION", "refuse a permission that a plugin asks for",
     "moat refuse word_count network_access", 0, 2, 2, run_refuse},
    {"revoke", GROUP_ALLOW, "NAME G", "take a right back; it holds when this returns",
     "moat revoke word_count file_read=/data", 0, 2, 2, run_revoke},
    {"grants", GROUP_ALLOW, "[NAME]", "what was decided", "moat grants word_count", 0, 0, 1, run_grants},
    {"denials", GROUP_ALLOW, "[NAME]", "what plugins tried and did not get, and the command that would allow it",
     "moat denials", 0, 0, 1, run_denials},

    {"stats", GROUP_WATCH, "", "what is installed, loaded and executed, in figures", "moat stats", 0, 0, 0, run_stats},
    {"health", GROUP_WATCH, "", "whether the host answers, and how its plugins are", "moat health", 0, 0, 0,
     run_health},
    {"capabilities", GROUP_WATCH, "", "the eight capabilities and the plugins that have them", "moat capabilities", 0,
     0, 0, run_capabilities},
    {"permissions", GROUP_WATCH, "", "the eight permissions and the plugins that ask for them", "moat permissions", 0,
     0, 0, run_permissions},

    {"settings get", GROUP_SET, "[KEY]", "the host's settings", "moat settings get payload_max", 0, 0, 1,
     run_settings_get},
    {"settings set", GROUP_SET, "KEY VALUE", "change a setting; VALUE is JSON, or a bare word",
     "moat settings set payload_max 16777216", 0, 2, 2, run_settings_set},

    {"serve", GROUP_SERVE, "[--listen ADDRESS:PORT] [--tls-cert FILE --tls-key FILE] [--insecure-http] [--dev]",
     "own the home and answer on its socket and on an address, loopback unless told, until SIGTERM",
     "moat serve --listen 127.0.0.1:0", OPT(LISTEN) | OPT(TLS_CERT) | OPT(TLS_KEY) | OPT(INSECURE_HTTP) | OPT(DEV), 0,
     0, run_serve},
    {"secure", GROUP_SERVE, "", "end a home's development mode for good: what is unsigned in it is refused",
     "moat secure --home ~/try", 0, 0, 0, run_secure},
    {"completion", GROUP_SERVE, "SHELL", "a completion script for the shell (bash)",
     "moat completion bash > /etc/bash_completion.d/moat", 0, 1, 1, run_completion},
    {"help", GROUP_SERVE, "[COMMAND]", "this list, or the help of a command", "moat help call", 0, 0, 2, run_help},
    {"version", GROUP_SERVE, "", "the version", "moat version", 0, 0, 0, run_version},
};
const size_t ncommands = sizeof commands / sizeof *commands;

package peertest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A KDC is a Kerberos realm with MIT's KDC on loopback. Its methods end the
// test when something goes wrong.
type KDC struct {
	Realm string
	Conf  string // path of the realm's krb5.conf, for KRB5_CONFIG
	Dir   string // keytabs and caches are in it

	t     testing.TB
	admin Options // the environment of kadmin.local
	made  int
}

// StartKDC starts the KDC of a realm, whose keys are of the given encryption
// types (MIT's names; "aes256-cts aes128-cts" without any). The KDC is the
// default realm of who uses its configuration, and hosts without a domain
// ("localhost", "peer") are in it.
func StartKDC(t testing.TB, realm string, encryption ...string) *KDC {
	t.Helper()
	NeedProgram(t, "krb5kdc", "krb5-kdc")
	if encryption == nil {
		encryption = []string{"aes256-cts", "aes128-cts"}
	}
	dir, port := t.TempDir(), FreePort(t)
	types := strings.Join(encryption, " ")
	k := &KDC{Realm: realm, Conf: filepath.Join(dir, "krb5.conf"), Dir: dir, t: t}
	k.write("krb5.conf", fmt.Sprintf(`[libdefaults]
  default_realm = %[1]s
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
  permitted_enctypes = %[3]s
  default_tkt_enctypes = %[3]s
  default_tgs_enctypes = %[3]s
[realms]
  %[1]s = {
    kdc = 127.0.0.1:%[2]d
  }
[domain_realm]
  localhost = %[1]s
  peer = %[1]s
`, realm, port, types))
	k.write("kdc.conf", fmt.Sprintf(`[kdcdefaults]
  kdc_listen = ""
  kdc_tcp_listen = 127.0.0.1:%[2]d
[realms]
  %[1]s = {
    database_name = %[3]s/principal
    key_stash_file = %[3]s/stash
    acl_file = %[3]s/acl
    max_life = 1h
    supported_enctypes = %[4]s
  }
[logging]
  kdc = STDERR
`, realm, port, dir, strings.Join(encryption, ":normal ")+":normal"))
	k.admin = Options{Env: append(k.Env(""), "KRB5_KDC_PROFILE="+filepath.Join(dir, "kdc.conf"))}
	k.run(k.admin, "kdb5_util", "create", "-s", "-P", "master", "-r", realm)
	Host.Start(t, k.admin, Listening(port), "krb5kdc", "-n", "-r", realm).Ready()
	return k
}

// Env is the environment of a program that uses the realm, with the tickets of
// a cache that Login has made, if one is named.
func (k *KDC) Env(cache string) []string {
	env := []string{"KRB5_CONFIG=" + k.Conf}
	if cache != "" {
		env = append(env, "KRB5CCNAME=FILE:"+cache)
	}
	return env
}

// User makes a principal with a password.
func (k *KDC) User(name, password string) {
	k.t.Helper()
	k.run(k.admin, "kadmin.local", "-r", k.Realm, "-q", fmt.Sprintf("addprinc -pw %s %s", password, name))
}

// Keytab makes principals with random keys, and returns a keytab of them.
func (k *KDC) Keytab(names ...string) string {
	k.t.Helper()
	k.made++
	path := filepath.Join(k.Dir, fmt.Sprintf("%d.keytab", k.made))
	for _, name := range names {
		k.run(k.admin, "kadmin.local", "-r", k.Realm, "-q", "addprinc -randkey "+name)
		k.run(k.admin, "kadmin.local", "-r", k.Realm, "-q", fmt.Sprintf("ktadd -k %s %s", path, name))
	}
	return path
}

// Login has kinit get a ticket, and returns the cache that it is in. More
// arguments are kinit's: "-l", "2s" for a short one, "-S", "vnc/peer" for one of a service.
func (k *KDC) Login(name, password string, args ...string) (cache string) {
	k.t.Helper()
	k.made++
	cache = filepath.Join(k.Dir, fmt.Sprintf("%d.ccache", k.made))
	k.run(Options{Env: k.Env(cache), Stdin: strings.NewReader(password + "\n")}, "kinit", append(args, name+"@"+k.Realm)...)
	return cache
}

func (k *KDC) write(name, text string) {
	k.t.Helper()
	if err := os.WriteFile(filepath.Join(k.Dir, name), []byte(text), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

func (k *KDC) run(o Options, name string, args ...string) {
	k.t.Helper()
	if r := Host.Run(k.t, o, name, args...); r.Code != 0 {
		k.t.Fatal(r)
	}
}

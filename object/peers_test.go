package object

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"virtls/authz"
	"virtls/finding"
	"virtls/internal/peertest"
	"virtls/internal/qjson"
)

// A refusal is a text with what QEMU says of it, without what stands before.
// Nothing means that the object is made.
type refusal struct {
	name, text string
	tools      string            // in the tools' dialect, and in the emulator's unless system says otherwise
	system     string            // "made" for nothing
	other      map[string]string // in the dialect of the tools, by generation, where it is not that of the newest
}

const badID = "Parameter 'id' expects an identifier"

var refusals = []refusal{
	{name: "nothing", text: "", tools: "Parameter 'qom-type' is missing"},
	{name: "no type", text: "id=x,data=y", tools: "Parameter 'qom-type' is missing"},
	{name: "unknown type", text: "bogus,id=x", tools: "Parameter 'qom-type' does not accept value 'bogus'"},
	{name: "abstract type", text: "tls-creds,id=x,dir=/x", tools: "Parameter 'qom-type' does not accept value 'tls-creds'"},
	{name: "list for a text", text: "[1]", tools: "Parameter 'qom-type' does not accept value '[1]'"},
	{name: "blank before the type", text: " tls-creds-anon,id=x", tools: "Parameter 'qom-type' does not accept value ' tls-creds-anon'"},
	{name: "type by key", text: "id=x,qom-type=tls-creds-anon"},
	{name: "the last type counts", text: "tls-creds-anon,qom-type=authz-simple,id=y", tools: "Parameter 'identity' is missing"},
	{name: "unknown type and malformed id", text: "bogus,id=1", tools: "Parameter 'qom-type' does not accept value 'bogus'", system: badID},

	{name: "no id", text: "tls-creds-anon", tools: "Parameter 'id' is missing"},
	{name: "blank before a key", text: "tls-creds-anon, id=x", tools: "Invalid parameter ' id'", system: "Parameter 'id' is missing"},
	{name: "id with a digit first", text: "tls-creds-anon,id=1x", tools: badID},
	{name: "empty id", text: "tls-creds-anon,id=", tools: badID},
	{name: "id with a blank", text: "tls-creds-anon,id=a b", tools: badID},
	{name: "id with a letter beyond ASCII", text: "tls-creds-anon,id=aé", tools: badID},
	{name: "id with all that is allowed", text: "tls-creds-anon,id=a.b-c_D9"},
	{name: "id of the old manual", text: "tls-creds-anon,id=tls0.endpoint=server", tools: badID},
	{name: "first of two ids good", text: "tls-creds-anon,id=y,id=1", tools: badID, system: "made"},
	{name: "last of two ids good", text: "tls-creds-anon,id=1,id=y", system: badID},
	{name: "long id", text: "tls-creds-anon,id=" + strings.Repeat("a", 2000)},

	{name: "unknown property", text: "tls-creds-anon,id=x,foo=bar", tools: "Parameter 'foo' is unexpected", system: "Invalid parameter 'foo'"},
	{name: "another type's property", text: "tls-creds-anon,id=x,sanity-check=on", tools: "Parameter 'sanity-check' is unexpected", system: "Invalid parameter 'sanity-check'"},
	{name: "verify", text: "tls-creds-anon,id=x,verify=on", tools: "Parameter 'verify' is unexpected", system: "Invalid parameter 'verify'"},
	{name: "loaded", text: "tls-creds-anon,id=x,loaded=on", tools: "Parameter 'loaded' is unexpected", system: "Invalid parameter 'loaded'",
		other: map[string]string{"host": "Property 'tls-creds-anon.loaded' is not writable"}},
	{name: "upper case", text: "tls-creds-anon,id=x,DIR=/", tools: "Parameter 'DIR' is unexpected", system: "Invalid parameter 'DIR'"},
	{name: "vendor's property", text: "tls-creds-anon,id=x,__com.foo_x=c", tools: "Parameter '__com.foo_x' is unexpected", system: "Invalid parameter '__com.foo_x'"},
	{name: "vendor without a property", text: "tls-creds-anon,id=x,__com.foo=c", tools: "Invalid parameter '__com.foo'"},
	{name: "vendor without a name", text: "tls-creds-anon,id=x,___x=c", tools: "Parameter '___x' is unexpected", system: "Invalid parameter '___x'"},
	{name: "vendor in the middle", text: "tls-creds-anon,id=x,__com_x.y=c", tools: "Parameter '__com_x' is unexpected", system: "Invalid parameter '__com_x.y'"},

	{name: "key alone", text: "tls-creds-anon,id=x,verify-peer", tools: "Expected '=' after parameter 'verify-peer'", system: "made"},
	{name: "negated key alone", text: "tls-creds-anon,id=x,noverify-peer", tools: "Expected '=' after parameter 'noverify-peer'", system: "made"},
	{name: "unknown key alone", text: "tls-creds-anon,id=x,foo", tools: "Expected '=' after parameter 'foo'", system: "Invalid parameter 'foo'"},
	{name: "unknown negated key alone", text: "tls-creds-anon,id=x,nofoo", tools: "Expected '=' after parameter 'nofoo'", system: "Invalid parameter 'foo'"},
	{name: "only no", text: "tls-creds-anon,id=x,no", tools: "Expected '=' after parameter 'no'", system: "Invalid parameter ''"},
	{name: "no with a value", text: "tls-creds-anon,id=x,no=", tools: "Parameter 'no' is unexpected", system: "Invalid parameter 'no'"},
	{name: "id alone", text: "tls-creds-anon,id", tools: "Expected '=' after parameter 'id'", system: "made"},
	{name: "key that begins like help", text: "tls-creds-anon,id=x,helpx=1", tools: "Parameter 'helpx' is unexpected", system: "Invalid parameter 'helpx'"},
	{name: "help with a value", text: "tls-creds-anon,id=x,help=1", tools: "Parameter 'help' is unexpected", system: "help"},
	{name: "question mark with a value", text: "tls-creds-anon,id=x,?=1", tools: "Invalid parameter '?'", system: "help"},
	{name: "help for an unknown type", text: "bogus,help", tools: "help", system: "Parameter 'qom-type' does not accept value 'bogus'"},
	{name: "help for no type", text: "id=x,help", tools: "help", system: "Parameter 'qom-type' is missing"},
	{name: "help for a value", text: "help=x", tools: "Parameter 'qom-type' is missing"},
	{name: "help behind a mistake", text: "tls-creds-anon,bogus,help", tools: "Expected '=' after parameter 'bogus'", system: "help"},

	{name: "comma behind the type doubled", text: "tls-creds-anon,,id=x", tools: "Invalid parameter ''", system: "Parameter 'qom-type' does not accept value 'tls-creds-anon,id=x'"},
	{name: "comma behind the id doubled", text: "tls-creds-anon,id=x,,dir=/", tools: badID},
	{name: "comma at the end", text: "tls-creds-anon,id=x,"},
	{name: "doubled comma at the end", text: "authz-simple,id=x,identity=y,,"},
	{name: "comma first", text: ",id=x", tools: "Invalid parameter ''", system: "Parameter 'qom-type' does not accept value ''"},
	{name: "equals first", text: "=x", tools: "Invalid parameter ''", system: "Parameter 'qom-type' is missing"},
	{name: "empty key", text: "tls-creds-anon,id=x,=y", tools: "Invalid parameter ''"},
	{name: "three commas", text: "tls-creds-anon,id=x,endpoint=client,,,dir=/", tools: "Parameter 'endpoint' does not accept value 'client,'"},
	{name: "equals in a value", text: "authz-simple,id=x,identity=CN=y"},
	{name: "commas of a name not doubled", text: "authz-simple,id=x,identity=C=GB,CN=y", tools: "Parameter 'CN' is unexpected", system: "Invalid parameter 'CN'"},
	{name: "digit first", text: "tls-creds-anon,id=x,1a=b", tools: "Invalid parameter '1a'"},
	{name: "index first", text: "tls-creds-anon,id=x,0=b", tools: "Invalid parameter '0'"},
	{name: "underscore first", text: "tls-creds-anon,id=x,_x=b", tools: "Invalid parameter '_x'"},
	{name: "letter beyond ASCII", text: "tls-creds-anon,id=x,é=b", tools: "Invalid parameter 'é'"},
	{name: "dot first", text: "tls-creds-anon,id=x,.a=b", tools: "Invalid parameter '.a'"},
	{name: "dot last", text: "tls-creds-anon,id=x,a.=b", tools: "Invalid parameter 'a.'"},
	{name: "two dots", text: "tls-creds-anon,id=x,a..b=b", tools: "Invalid parameter 'a..b'"},
	{name: "longest key", text: "tls-creds-anon,id=x," + strings.Repeat("a", 127) + "=b", tools: "Parameter '" + strings.Repeat("a", 127) + "' is unexpected", system: "Invalid parameter '" + strings.Repeat("a", 127) + "'"},
	{name: "key too long", text: "tls-creds-anon,id=x," + strings.Repeat("a", 128) + "=b", tools: "Parameter '" + strings.Repeat("a", 128) + "' is too long", system: "Invalid parameter '" + strings.Repeat("a", 128) + "'"},
	{name: "first part too long", text: "tls-creds-anon,id=x," + strings.Repeat("a", 128) + ".b=b", tools: "Parameter fragment '" + strings.Repeat("a", 128) + "' is too long", system: "Invalid parameter '" + strings.Repeat("a", 128) + ".b'"},
	{name: "index too long", text: "tls-creds-anon,id=x,b." + strings.Repeat("0", 128) + "=b", tools: "Parameter fragment '" + strings.Repeat("0", 128) + "' is too long", system: "Invalid parameter 'b." + strings.Repeat("0", 128) + "'"},

	{name: "list for a value", text: "tls-creds-anon,id=x,dir.0=b", tools: "Parameters 'dir.*' are unexpected", system: "Invalid parameter 'dir.0'"},
	{name: "keys below a word", text: "tls-creds-anon,id=x,endpoint.a=b", tools: "Parameters 'endpoint.*' are unexpected", system: "Invalid parameter 'endpoint.a'"},
	{name: "keys below a switch", text: "tls-creds-anon,id=x,verify-peer.a=b", tools: "Parameters 'verify-peer.*' are unexpected", system: "Invalid parameter 'verify-peer.a'"},
	{name: "value and keys", text: "tls-creds-anon,id=x,dir=a,dir.b=c", tools: "Parameters 'dir.*' used inconsistently", system: "Invalid parameter 'dir.b'"},
	{name: "keys and value", text: "tls-creds-anon,id=x,dir.b=c,dir=a", tools: "Parameters 'dir.*' used inconsistently", system: "Invalid parameter 'dir.b'"},
	{name: "unknown keys below", text: "tls-creds-anon,id=x,foo.bar=c", tools: "Parameter 'foo' is unexpected", system: "Invalid parameter 'foo.bar'"},
	{name: "value and list far below", text: "tls-creds-anon,id=x,foo.0.a=c,foo.0=d", tools: "Parameters 'foo.0.*' used inconsistently", system: "?"},
	{name: "hole far below", text: "tls-creds-anon,id=x,a.b.1=x", tools: "Parameter 'a.b.0' missing", system: "Invalid parameter 'a.b.1'"},
	{name: "hole in a list of lists", text: "tls-creds-anon,id=x,a.0.0=x,a.0.2=y", tools: "Parameter 'a.0.1' missing", system: "?"},
	{name: "index and name far below", text: "tls-creds-anon,id=x,a.b.0.c=x,a.b.x=1", tools: "Parameters 'a.b.*' used inconsistently", system: "?"},

	{name: "boolean", text: "tls-creds-anon,id=x,verify-peer=maybe", tools: "Parameter 'verify-peer' expects 'on' or 'off'"},
	{name: "boolean in upper case", text: "tls-creds-anon,id=x,verify-peer=On", tools: "Parameter 'verify-peer' expects 'on' or 'off'"},
	{name: "boolean as a number", text: "tls-creds-anon,id=x,verify-peer=1", tools: "Parameter 'verify-peer' expects 'on' or 'off'"},
	{name: "empty boolean", text: "tls-creds-anon,id=x,verify-peer=", tools: "Parameter 'verify-peer' expects 'on' or 'off'"},
	{name: "short boolean", text: "tls-creds-anon,id=x,verify-peer=n"},
	{name: "the last boolean counts", text: "tls-creds-anon,id=x,verify-peer=maybe,verify-peer=true"},
	{name: "endpoint", text: "tls-creds-anon,id=x,endpoint=both", tools: "Parameter 'endpoint' does not accept value 'both'"},
	{name: "empty endpoint", text: "tls-creds-anon,id=x,endpoint=", tools: "Parameter 'endpoint' does not accept value ''"},
	{name: "the last endpoint counts", text: "tls-creds-anon,id=x,endpoint=client,endpoint=both", tools: "Parameter 'endpoint' does not accept value 'both'"},

	{name: "secret of nothing", text: "secret,id=x", tools: "Either 'file' or 'data' must be provided"},
	{name: "secret of both", text: "secret,id=x,data=a,file=b", tools: "'file' and 'data' are mutually exclusive"},
	{name: "secret's file missing", text: "secret,id=x,file=/nonexistent", tools: "Unable to read /nonexistent: Failed to open file “/nonexistent”: No such file or directory"},
	{name: "secret's format", text: "secret,id=x,format=hex,data=c", tools: "Parameter 'format' does not accept value 'hex'"},
	{name: "secret not base64", text: "secret,id=x,format=base64,data=!!!", tools: "Base64 data contains invalid characters"},
	{name: "secret's key missing", text: "secret,id=x,data=a,keyid=k", tools: "No secret with id 'k'"},
	{name: "secret's key empty", text: "secret,id=x,data=a,keyid=", tools: "No secret with id ''"},
	{name: "secret that is its own key", text: "secret,id=x,data=a,keyid=x,iv=a", tools: "Secret with id 'x' has no data"},
	{name: "secret with a comma", text: "secret,id=x,data=a,,b"},
	{name: "secret without data", text: "secret,id=x,data="},
	{name: "vector without a key", text: "secret,id=x,data=a,iv=k"},

	{name: "x509 without directory", text: "tls-creds-x509,id=t", tools: "Missing 'dir' property value"},
	{name: "x509 in no directory", text: "tls-creds-x509,id=t,dir=/nonexistent", tools: "Unable to access credentials /nonexistent/ca-cert.pem: No such file or directory"},
	{name: "psk without directory", text: "tls-creds-psk,id=t", tools: "Missing 'dir' property value"},
	{name: "psk in no directory", text: "tls-creds-psk,id=t,dir=/nonexistent", tools: "Unable to access credentials /nonexistent/keys.psk: No such file or directory"},
	{name: "psk server with a user", text: "tls-creds-psk,id=t,dir=/,endpoint=server,username=x", tools: "username should not be set when endpoint=server"},
	{name: "anonymous", text: "tls-creds-anon,id=t,endpoint=client"},

	{name: "simple without identity", text: "authz-simple,id=a", tools: "Parameter 'identity' is missing"},
	{name: "simple without name", text: "authz-simple,id=a,identity="},
	{name: "list of nobody", text: "authz-list,id=a"},
	{name: "list's policy", text: "authz-list,id=a,policy=maybe", tools: "Parameter 'policy' does not accept value 'maybe'"},
	{name: "rule", text: "authz-list,id=a,rules.0.match=fred", tools: "Parameter 'rules.0.policy' is missing", system: "Invalid parameter 'rules.0.match'"},
	{name: "rule without match", text: "authz-list,id=a,rules.0.policy=allow", tools: "Parameter 'rules.0.match' is missing", system: "Invalid parameter 'rules.0.policy'"},
	{name: "good rule", text: "authz-list,id=a,rules.0.match=fred,rules.0.policy=allow,rules.0.format=glob", system: "?"},
	{name: "rule's format", text: "authz-list,id=a,rules.0.match=fred,rules.0.policy=allow,rules.0.format=regex", tools: "Parameter 'format' does not accept value 'regex'", system: "?"},
	{name: "rule's policy", text: "authz-list,id=a,rules.0.match=fred,rules.0.policy=x,rules.0.format=regex", tools: "Parameter 'policy' does not accept value 'x'", system: "?"},
	{name: "rule's unknown property", text: "authz-list,id=a,rules.0.match=fred,rules.0.policy=allow,rules.0.foo.x=1", tools: "Parameter 'rules.0.foo' is unexpected", system: "?"},
	{name: "list in a rule", text: "authz-list,id=a,rules.0.match.0=fred,rules.0.policy=allow", tools: "Parameters 'rules.0.match.*' are unexpected", system: "?"},
	{name: "second rule", text: "authz-list,id=a,rules.0.match=a,rules.0.policy=allow,rules.1.policy=deny", tools: "Parameter 'rules.1.match' is missing", system: "?"},
	{name: "rules from one", text: "authz-list,id=a,rules.1.match=fred", tools: "Parameter 'rules.0' missing", system: "Invalid parameter 'rules.1.match'"},
	{name: "rule far away", text: "authz-list,id=a,rules.99999999999999999999.match=fred", tools: "Parameter 'rules.0' missing", system: "Invalid parameter 'rules.99999999999999999999.match'"},
	{name: "index written otherwise", text: "authz-list,id=a,rules.00.match=fred,rules.00.policy=allow", system: "?"},
	{name: "negative index", text: "authz-list,id=a,rules.-1.match=fred", tools: "Invalid parameter 'rules.-1.match'"},
	{name: "rule for rules", text: "authz-list,id=a,rules.match=fred", tools: "Invalid parameter type for 'rules', expected: array", system: "Invalid parameter 'rules.match'"},
	{name: "value for a rule", text: "authz-list,id=a,rules.0=fred", tools: "Invalid parameter type for 'rules.0', expected: object", system: "Invalid parameter 'rules.0'"},
	{name: "list for a rule", text: "authz-list,id=a,rules.0.0=fred", tools: "Invalid parameter type for 'rules.0', expected: object", system: "Invalid parameter 'rules.0.0'"},
	{name: "value for rules", text: "authz-list,id=a,rules=fred", tools: "Invalid parameter type for 'rules', expected: array", system: "Parameter 'policy' does not accept value 'fred'"},
	{name: "values for rules", text: "authz-list,id=a,rules=fred,rules=allow", tools: "Invalid parameter type for 'rules', expected: array", system: "Parameter 'policy' does not accept value 'fred'"},
	{name: "listfile without name", text: "authz-listfile,id=a", tools: "Parameter 'filename' is missing"},
	{name: "listfile's refresh", text: "authz-listfile,id=a,refresh=maybe,filename=x", tools: "Parameter 'refresh' expects 'on' or 'off'"},

	{name: "JSON", text: `{"qom-type":"tls-creds-anon","id":"x","verify-peer":true}`},
	{name: "JSON in single quotes", text: `{'qom-type':'tls-creds-anon','id':'x'}`},
	{name: "JSON without type", text: `{"id":"x"}`, tools: "Parameter 'qom-type' is missing"},
	{name: "JSON's type a number", text: `{"qom-type":1,"id":1}`, tools: "Invalid parameter type for 'qom-type', expected: string"},
	{name: "JSON's type help", text: `{"qom-type":"help"}`, tools: "Parameter 'qom-type' does not accept value 'help'"},
	{name: "JSON without id", text: `{"qom-type":"tls-creds-anon"}`, tools: "Parameter 'id' is missing"},
	{name: "JSON's id a number", text: `{"qom-type":"tls-creds-anon","id":1}`, tools: "Invalid parameter type for 'id', expected: string"},
	{name: "JSON's id empty", text: `{"qom-type":"tls-creds-anon","id":""}`, tools: badID},
	{name: "JSON's unknown property before its malformed id", text: `{"qom-type":"tls-creds-anon","id":"1","foo":1}`, tools: "Parameter 'foo' is unexpected"},
	{name: "JSON's order", text: `{"qom-type":"tls-creds-x509","id":"x","sanity-check":1,"dir":2,"verify-peer":3,"endpoint":4,"priority":5,"passwordid":6}`, tools: "Invalid parameter type for 'verify-peer', expected: boolean"},
	{name: "JSON's order of texts", text: `{"qom-type":"tls-creds-x509","id":"x","sanity-check":1,"dir":2,"priority":5}`, tools: "Invalid parameter type for 'dir', expected: string"},
	{name: "JSON's order at last", text: `{"qom-type":"tls-creds-x509","id":"x","passwordid":6,"sanity-check":1}`, tools: "Invalid parameter type for 'sanity-check', expected: boolean"},
	{name: "JSON's secret's order", text: `{"qom-type":"secret","id":"x","data":1,"iv":1,"keyid":1}`, tools: "Invalid parameter type for 'keyid', expected: string"},
	{name: "JSON's boolean a text", text: `{"qom-type":"tls-creds-anon","id":"x","verify-peer":"on"}`, tools: "Invalid parameter type for 'verify-peer', expected: boolean"},
	{name: "JSON's boolean null", text: `{"qom-type":"tls-creds-anon","id":"x","verify-peer":null}`, tools: "Invalid parameter type for 'verify-peer', expected: boolean"},
	{name: "JSON's word a boolean", text: `{"qom-type":"tls-creds-anon","id":"x","endpoint":true}`, tools: "Invalid parameter type for 'endpoint', expected: string"},
	{name: "JSON's text an object", text: `{"qom-type":"tls-creds-anon","id":"x","dir":{"a":1}}`, tools: "Invalid parameter type for 'dir', expected: string"},
	{name: "JSON's word", text: `{"qom-type":"tls-creds-anon","id":"x","endpoint":"Server"}`, tools: "Parameter 'endpoint' does not accept value 'Server'"},
	{name: "JSON's rules", text: `{"qom-type":"authz-list","id":"x","rules":[{"match":"a","policy":"allow","format":"glob"}]}`},
	{name: "JSON's rules an object", text: `{"qom-type":"authz-list","id":"x","rules":{}}`, tools: "Invalid parameter type for 'rules', expected: array"},
	{name: "JSON's rule a text", text: `{"qom-type":"authz-list","id":"x","rules":["a"]}`, tools: "Invalid parameter type for 'rules[0]', expected: object"},
	{name: "JSON's rule without policy", text: `{"qom-type":"authz-list","id":"x","rules":[{"match":"a"}]}`, tools: "Parameter 'rules[0].policy' is missing"},
	{name: "JSON's rule's match a number", text: `{"qom-type":"authz-list","id":"x","rules":[{"policy":"allow","match":1}]}`, tools: "Invalid parameter type for 'rules[0].match', expected: string"},
	{name: "JSON's rule's policy", text: `{"qom-type":"authz-list","id":"x","rules":[{"policy":"x","match":"1"}]}`, tools: "Parameter 'policy' does not accept value 'x'"},
	{name: "JSON's rule's unknown property", text: `{"qom-type":"authz-list","id":"x","rules":[{"policy":"allow","match":"1"},{"policy":"allow","match":"1","foo":{}}]}`, tools: "Parameter 'rules[1].foo' is unexpected"},
	{name: "JSON's props of old", text: `{"qom-type":"authz-simple","id":"a","props":{"identity":"x"}}`, tools: "Parameter 'identity' is missing"},
	{name: "JSON and help", text: `{"qom-type":"tls-creds-anon","id":"x"},help`, tools: "Expecting at most one JSON value"},
	{name: "JSON not closed", text: `{"qom-type"`, tools: "1:12: JSON parse error, premature end of input",
		other: map[string]string{"host": "JSON parse error, premature EOI", "trixie": "JSON parse error, premature EOI"}},
}

// said returns what an error of Add says in QEMU's words.
func said(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	if help, ok := errors.AsType[*Help](err); ok {
		if help.Text == "" {
			t.Error("empty help")
		}
		return "help"
	}
	f, ok := errors.AsType[*finding.Failure](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	return f.Text
}

func TestRefusals(t *testing.T) {
	for _, tt := range refusals {
		for d, want := range map[Dialect]string{Tools: tt.tools, System: tt.inSystem()} {
			t.Run([]string{"tools", "system"}[d]+"/"+tt.name, func(t *testing.T) {
				r := Registry{Dialect: d}
				defer r.Close()
				_, err := r.Add(tt.text)
				got := said(t, err)
				_, position, found := strings.Cut(got, ": ")
				switch {
				case got == want, want == "?" && got != "":
				case found && position == want && strings.HasPrefix(tt.text, "{"): // we say where, QEMU does not
				case err != nil && strings.HasPrefix(want, got+": ") && got != "": // the reason is a part of the finding
				default:
					t.Errorf("got  %q\nwant %q", got, want)
				}
			})
		}
	}
}

// inSystem returns what the emulator says; "?" is one of several errors.
func (r refusal) inSystem() string {
	switch r.system {
	case "":
		return r.tools
	case "made":
		return ""
	}
	return r.system
}

// TestRefusalsOfQEMU proves that the texts are QEMU's. The oldest emulator is
// asked about all of them, the others where it has an opinion of its own.
func TestRefusalsOfQEMU(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		var asked []refusal
		for _, tt := range refusals {
			if other, ok := tt.other[g.Name]; ok {
				tt.tools, tt.system = other, other
			}
			asked = append(asked, tt)
		}
		askAll(t, g, "qemu-img", `qemu-img info --object "$text" /dev/null`, asked, func(tt refusal) string { return tt.tools })
		if !g.Has("qemu-system-x86_64") {
			t.Fatal("qemu-system-x86_64 is missing: install qemu-system-x86")
		}
		if g.Name != peertest.Host.Name {
			asked = slices.DeleteFunc(asked, func(tt refusal) bool { return tt.system == "" })
		}
		askAll(t, g, "qemu-system-x86_64", `echo quit | qemu-system-x86_64 -M none -display none -nodefaults -monitor stdio -object "$text"`, asked, refusal.inSystem)
	})
}

// askAll compares what a program says of texts. To be asked in a root of its
// own about each would take much longer than the answers.
func askAll(t *testing.T, g peertest.Generation, program, command string, asked []refusal, want func(refusal) string) {
	t.Helper()
	const end = "\x01"
	for some := range slices.Chunk(asked, 20) {
		args := []string{"-c", `for text; do ` + command + `; printf '%d\1' $?; printf '\1' >&2; done`, "sh"}
		for _, tt := range some {
			args = append(args, tt.text)
		}
		all := g.Run(t, peertest.Options{}, "sh", args...)
		out, err := strings.Split(all.Stdout, end), strings.Split(all.Stderr, end)
		if len(out) != len(some)+1 || len(err) != len(some)+1 {
			t.Fatalf("%d answers to %d texts: %v", len(err)-1, len(some), all)
		}
		for i, tt := range some {
			t.Run(program+"/"+tt.name, func(t *testing.T) {
				got := peertest.Result{Command: program, Stdout: out[i], Stderr: err[i]}
				if !strings.HasSuffix(out[i], "0") {
					got.Code = 1
				}
				compare(t, program, tt.text, got, want(tt))
			})
		}
	}
}

func compare(t *testing.T, program, text string, got peertest.Result, want string) {
	t.Helper()
	if want == "help" {
		if got.Code != 0 || !strings.Contains(got.Stdout, "options:\n") && !strings.Contains(got.Stdout, "List of user creatable objects:\n") {
			t.Errorf("want help; %v", got)
		}
		return
	}
	line := ""
	for l := range strings.Lines(got.Stderr) {
		l = strings.TrimPrefix(strings.TrimSuffix(l, "\n"), program+": ")
		l = strings.TrimPrefix(l, "-object "+text+": ")
		if !strings.HasPrefix(l, "warning: ") && !strings.HasPrefix(l, "Please use ") {
			line = l
			break
		}
	}
	if line != want && (want != "?" || line == "") {
		t.Errorf("%s says %q\nwant %q", program, line, want)
	}
}

func TestHelpOfQEMU(t *testing.T) {
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for _, typ := range append(Types(), "help") {
			argument := typ
			if typ != "help" {
				argument += ",help"
			}
			got := g.Run(t, peertest.Options{}, "qemu-img", "info", "--object", argument, "/dev/null").Stdout
			if typ == "help" {
				// Only the types that are also ours.
				lines := strings.SplitAfter(got, "\n")
				got = strings.Join(slices.DeleteFunc(lines, func(l string) bool {
					return strings.HasPrefix(l, " ") && !slices.Contains(Types(), strings.TrimSpace(l))
				}), "")
			}
			_, err := new(Registry).Add(argument)
			help, ok := errors.AsType[*Help](err)
			if !ok {
				t.Fatalf("%s: %v", argument, err)
			}
			if diff := cmp.Diff(got, help.Text); diff != "" {
				t.Errorf("%s (-QEMU +virtls):\n%s", argument, diff)
			}
		}
	})
}

// TestDuplicatesOfQEMU compares the errors about ids that are taken.
func TestDuplicatesOfQEMU(t *testing.T) {
	ours := func(d Dialect, texts ...string) string {
		r := Registry{Dialect: d}
		defer r.Close()
		for _, text := range texts[:len(texts)-1] {
			if _, err := r.Add(text); err != nil {
				t.Fatal(err)
			}
		}
		_, err := r.Add(texts[len(texts)-1])
		return said(t, err)
	}
	const first, second, asJSON = "tls-creds-anon,id=x", "authz-simple,id=x,identity=y", `{"qom-type":"authz-simple","id":"x","identity":"y"}`
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		got := g.Run(t, peertest.Options{}, "qemu-img", "info", "--object", first, "--object", second, "/dev/null")
		compare(t, "qemu-img", second, got, ours(Tools, first, second))
		for _, text := range []string{second, asJSON} {
			got = g.Run(t, peertest.Options{}, "qemu-system-x86_64", "-M", "none", "-display", "none", "-nodefaults", "-object", first, "-object", text)
			compare(t, "qemu-system-x86_64", text, got, ours(System, first, text))
		}
	})
}

// TestListsOfQEMU compares what the same text makes of a client, here and as
// the --tls-authz of a real server. Newer servers are asked about every third.
func TestListsOfQEMU(t *testing.T) {
	name := authz.PatternFor(client)
	rule := func(match, policy, format string) qjson.Object {
		return qjson.Object{{Key: "match", Value: match}, {Key: "policy", Value: policy}, {Key: "format", Value: format}}
	}
	list := func(policy string, rules ...any) string {
		return qjson.Text(qjson.Object{{Key: "qom-type", Value: "authz-list"}, {Key: "id", Value: "who"}, {Key: "policy", Value: policy}, {Key: "rules", Value: rules}})
	}
	tests := []struct {
		name, text string
		want       bool
	}{
		{"simple", "authz-simple,id=who,identity=" + strings.ReplaceAll(name, ",", ",,"), true},
		{"simple of another", "authz-simple,id=who,identity=" + strings.ReplaceAll(name, ",", ",,") + "x", false},
		{"simple of the name as certtool shows it", "authz-simple,id=who,identity=" + strings.ReplaceAll(client.RFC4514(), ",", ",,"), false},
		{"empty list", "authz-list,id=who", false},
		{"policy", "authz-list,id=who,policy=allow", true},
		{"exact", list("deny", rule(name, "allow", "exact")), true},
		{"exact star", list("deny", rule("*", "allow", "exact")), false},
		{"pattern of the name", list("deny", rule(name, "allow", "glob")), true},
		{"pattern", list("deny", rule("C=GB,*CN=fr?d?ric", "allow", "glob")), true},
		{"octets", list("deny", rule("*CN=fr??d??ric", "allow", "glob")), false},
		{"the first decides", list("allow", rule("C=DE,*", "allow", "glob"), rule("C=GB,*", "deny", "glob"), rule(name, "allow", "exact")), false},
		{"no such list", "authz-simple,id=other,identity=x", false},
	}
	dir := directory(t)
	image := filepath.Join(dir, "image")
	if err := os.WriteFile(image, make([]byte, 512), 0o600); err != nil {
		t.Fatal(err)
	}
	secret, server := "secret,id=pw,file="+dir+"/password", "tls-creds-x509,id=tls0,endpoint=server,passwordid=pw,dir="+dir
	peertest.Each(t, func(t *testing.T, g peertest.Generation) {
		for i, tt := range tests {
			if g.Name != peertest.Host.Name && i%3 != 0 {
				continue
			}
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				r := &Registry{}
				defer r.Close()
				add(t, r, secret, server, tt.text)
				if ok, _ := r.Authz("who").Allowed(name); ok != tt.want {
					t.Errorf("we let the client in: %v", ok)
				}
				p := g.QemuNBD(t, peertest.Options{}, "--object", secret, "--object", server, "--object", tt.text,
					"--tls-creds", "tls0", "--tls-authz", "who", "--read-only", "--format=raw", image).Ready()
				if ok := admitted(t, dir, p.Port); ok != tt.want {
					t.Errorf("QEMU lets the client in: %v\n%s", ok, p.Stderr())
				}
			})
		}
	})
}

// admitted reports whether an NBD server goes on after a client has shown its
// certificate: QEMU closes the connection without a word if it does not like it.
func admitted(t *testing.T, dir string, port int) bool {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
	must(err)
	defer conn.Close()
	option := func(number byte) []byte { return append([]byte("IHAVEOPT\x00\x00\x00"), number, 0, 0, 0, 0) }
	_, err = io.ReadFull(conn, make([]byte, 18)) // greeting
	must(err)
	_, err = conn.Write(append([]byte{0, 0, 0, 1}, option(5)...)) // fixed newstyle, STARTTLS
	must(err)
	_, err = io.ReadFull(conn, make([]byte, 20)) // ACK
	must(err)
	cert, err := tls.LoadX509KeyPair(dir+"/client-cert.pem", dir+"/client-key.pem")
	must(err)
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}}) // it is the server that judges
	must(secure.Handshake())
	secure.Write(option(3)) // LIST
	_, err = io.ReadFull(secure, make([]byte, 20))
	return err == nil
}

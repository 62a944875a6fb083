package creds

import "virtls/pki"

// A Cache lets judgements of the same files by several consumers share what
// they have read, parsed and verified. All of them must have the same View or
// Root, Now and Password, and be made by one goroutine at a time. What changes
// on disk meanwhile is not seen.
type Cache struct {
	stats  map[string]error
	files  map[string]content
	certs  map[string]parsedCertificates
	keys   map[keyInput]parsedKey
	chains map[chainInput]error
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{map[string]error{}, map[string]content{}, map[string]parsedCertificates{}, map[keyInput]parsedKey{}, map[chainInput]error{}}
}

// A content is what was found of a file.
type content struct {
	data []byte
	err  error
}

type parsedCertificates struct {
	certs  []*pki.Certificate
	reason pki.GnuTLSError
	err    error
}

// A keyInput is what a private key is read from.
type keyInput struct {
	data     string
	password bool // there is one
}

type parsedKey struct {
	key pki.PrivateKey
	err error
}

// A chainInput is a chain, the authorities that it is held against, and by
// whose GnuTLS. Certificates of one cache are the same if their pointers are.
type chainInput struct {
	leaf, anchor  *pki.Certificate
	length, count int
	mldsa         pki.GnuTLSMLDSA
}

// remember returns what m has for a key, made by f if it has nothing yet.
func remember[K comparable, V any](m map[K]V, key K, f func() V) V {
	v, ok := m[key]
	if !ok {
		v = f()
		m[key] = v
	}
	return v
}

// Package ca holds certificate authorities in a state directory: it makes them,
// issues, renews and revokes certificates, and keeps what it did in a register.
package ca

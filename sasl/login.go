package sasl

import "fmt"

// A Login is a user's name and password. It prints as the name alone.
type Login struct {
	User     string
	Password []byte
}

// Format keeps the password out of everything that is printed, whatever the verb.
func (l Login) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "%q (password not shown)", l.User) }

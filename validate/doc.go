// Package validate judges the credentials of a machine, of a staged tree or of
// one directory: what each consumer in each of its versions makes of them, and
// whatever else is wrong with them.
package validate

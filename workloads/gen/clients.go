package gen

import (
	"strconv"
	"strings"
)

// Names of the workloads' clients, as operations carry them: produce-1 and so on, metadata-1, consume-1, and one that auto-creates.
const (
	ProducerClient   = "produce"
	MetadataClient   = "metadata"
	ConsumerClient   = "consume"
	AutocreateClient = "autocreate"

	// AllClients stands for every client of the workloads.
	AllClients = "clients"
)

// ParseClient takes a client's name apart: "produce-2" is the second producer. AllClients and AutocreateClient have no number. ok is false
// for what is no client's name.
func ParseClient(name string) (kind string, number int, ok bool) {
	if name == AllClients || name == AutocreateClient {
		return name, 0, true
	}
	kind, digits, _ := strings.Cut(name, "-")
	number, err := strconv.Atoi(digits)
	if err != nil || number < 1 || strconv.Itoa(number) != digits {
		return "", 0, false
	}
	return kind, number, kind == ProducerClient || kind == MetadataClient || kind == ConsumerClient
}

// Meant reports whether who, a client's name or AllClients, means a client. The run loop's own clients are meant by nobody.
func Meant(who, client string) bool {
	if who != AllClients {
		return who == client
	}
	_, _, ok := ParseClient(client)
	return ok
}

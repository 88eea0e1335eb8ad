// Package wire is the only place where the reference broker turns bytes into values and back: Kafka's framing around
// kmsg for clients, and the frames of one broker's messages to another. The core and the shell see typed values only.
//
// Everything read here comes from outside, so nothing is trusted: a length is checked before anything is
// allocated by it, and a body is walked along its known shape (shape.go) before kmsg decodes it, because kmsg alone believes a
// count of tagged fields up to 2³², and takes an array's length for its number of structs. Malformed
// bytes are an error and the connection ends, as Kafka does it.
//
// Files: request.go and response.go (clients), shape.go and shapes.go (the walk), tags.go (operation ids), peer.go and hello.go
// (brokers), body.go (kmsg values within peer frames).
package wire

//go:build !linux

// Command flush is for Linux alone; see main_linux.go.
package main

func main() { panic("nftables is there on Linux only") }

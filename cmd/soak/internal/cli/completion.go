package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"soak/broker/bugs"
	"soak/chaos"
	"soak/chaos/docker"
	"soak/chaos/hand"
	"soak/chaos/process"
	"soak/chaos/scenario"
)

// completionScripts ask this program for the words, so that they never say anything else than it does. Where it knows none, the shell completes files.
var completionScripts = map[string]string{
	"bash": `# source <(soak completion bash)
_soak() {
    local IFS=$'\n'
    COMPREPLY=($("$1" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _soak soak
`,
	"zsh": `#compdef soak
# source <(soak completion zsh)
_soak() {
    local -a found
    found=(${(f)"$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#found} )); then compadd -- $found; else _files; fi
}
compdef _soak soak
`,
	"fish": `# soak completion fish | source
function __soak_complete
    set -l line (commandline -opc)
    command soak complete -- $line[2..-1] (commandline -ct) 2>/dev/null
end
complete -c soak -a '(__soak_complete)'
`,
}

var shells = []string{"bash", "zsh", "fish"}

func completionCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("completion", "completion bash|zsh|fish", "Print a script that completes this program's words in a shell:\n"+
		"    source <(soak completion bash)\n    source <(soak completion zsh)\n    soak completion fish | source")
	if err := parse(fs, args, 1, 1); err != nil {
		return 0, err
	}
	script, ok := completionScripts[fs.Arg(0)]
	if !ok {
		return 0, usage("unknown shell "+quoted(fs.Arg(0)), didYouMean(fs.Arg(0), shells, "shells: "+strings.Join(shells, ", ")))
	}
	return exitHolds, e.print("%s", script)
}

// completeCommand is what the scripts call: `soak complete -- WORD…`, the last word being the one to complete.
func completeCommand(e *env, args []string) (int, error) {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	for _, w := range e.complete(args) {
		if err := e.print("%s\n", w); err != nil {
			return 0, err
		}
	}
	return exitHolds, nil
}

// complete gives the words that the last of these may become.
func (e *env) complete(words []string) []string {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "=" }) // bash takes --driver=docker apart
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	given, c := words[:len(words)-1], (*command)(nil)
	name := ""
	for list := commands(); len(given) > 0; list = clusterCommands() {
		i := slices.IndexFunc(list, func(c command) bool { return c.name == given[0] && !c.hidden })
		if i < 0 {
			break
		}
		c, given = &list[i], given[1:]
		if name = strings.TrimSpace(name + " " + c.name); name != "cluster" {
			break
		}
	}
	var known []string
	switch {
	case c == nil:
		known = commandNames(commands())
	case name == "cluster":
		known = commandNames(clusterCommands())
	default:
		known = e.completeIn(name, e.flagsOf(*c), given, &last)
	}
	return slices.DeleteFunc(known, func(w string) bool { return !strings.HasPrefix(w, last) })
}

func commandNames(list []command) []string {
	var names []string
	for _, c := range list {
		if !c.hidden {
			names = append(names, c.name)
		}
	}
	return names
}

// flagsOf gives the flags of a command; nil if it has none. It asks for the command's help, which does nothing else.
func (e *env) flagsOf(c command) *pflag.FlagSet {
	if c.name == "broker" || c.name == "help" {
		return nil // the broker's flags are its own
	}
	var fs *pflag.FlagSet
	sub := &env{args: []string{"soak"}, stdout: io.Discard, stderr: io.Discard, getenv: e.getenv, seen: func(f *pflag.FlagSet) { fs = f }}
	_, _ = c.run(sub, []string{"--help"}) // always ends with pflag.ErrHelp
	return fs
}

// completeIn completes within a command's own words. Of --flag=value the value is left in last.
func (e *env) completeIn(name string, fs *pflag.FlagSet, given []string, last *string) []string {
	takesValue := func(word string) *pflag.Flag {
		if fs == nil || !strings.HasPrefix(word, "-") {
			return nil
		}
		f := fs.Lookup(strings.TrimLeft(word, "-"))
		if f == nil && len(word) == 2 {
			f = fs.ShorthandLookup(word[1:])
		}
		if f == nil || f.NoOptDefVal != "" {
			return nil
		}
		return f
	}
	place := 0 // of the argument
	for i := 0; i < len(given); i++ {
		switch {
		case takesValue(given[i]) != nil:
			if i == len(given)-1 {
				return valuesOf(given[i])
			}
			i++
		case !strings.HasPrefix(given[i], "-"):
			place++
		}
	}
	if strings.HasPrefix(*last, "-") {
		var known []string
		if fs != nil {
			fs.VisitAll(func(f *pflag.Flag) {
				if !f.Hidden {
					known = append(known, "--"+f.Name)
				}
			})
		}
		return append(known, "--help")
	}
	return argumentsOf(name, place)
}

// valuesOf gives the values that a flag is known to take.
func valuesOf(flag string) []string {
	switch strings.TrimLeft(flag, "-") {
	case "driver":
		return slices.Clone(drivers)
	case "bug":
		return bugNamesKnown()
	case "way":
		return []string{chaos.WayIn, chaos.WayOut}
	case "cluster":
		return clusterIDs()
	}
	return nil
}

// argumentsOf gives what the argument at a place, from 0 on, of a command may be.
func argumentsOf(name string, place int) []string {
	if name == "check" || name == "report" { // take many
		place = 0
	}
	if name == "cluster fault" && place == 1 {
		known := []string{scenario.TargetRaftLeader, scenario.TargetPartitionLeader, scenario.TargetFollower, scenario.TargetAll}
		nodes := 3
		if i, err := hand.Find(""); err == nil {
			nodes = i.Nodes
		}
		for id := 1; id <= nodes; id++ {
			known = append(known, fmt.Sprintf("n%d", id))
		}
		return known
	}
	if place > 0 {
		return nil
	}
	switch name {
	case "run", "campaign", "scenarios":
		return scenario.Names()
	case "check", "report", "replay", "shrink", "compare", "export":
		return []string{"latest"}
	case "bugs":
		return bugNamesKnown()
	case "help":
		return commandNames(commands())
	case "completion":
		return slices.Clone(shells)
	case "cluster status", "cluster down":
		return clusterIDs()
	case "cluster heal":
		return []string{"all"}
	case "cluster fault":
		p, d := process.Capabilities(), docker.Capabilities()
		return slices.DeleteFunc(scenario.Kinds(), func(k string) bool { return !can(p, k) && !can(d, k) })
	}
	return nil
}

func can(c chaos.Capabilities, kind string) bool {
	why, known := c[kind]
	return known && why == ""
}

func bugNamesKnown() []string {
	var names []string
	for _, b := range bugs.Catalogue {
		names = append(names, b.Name)
	}
	return names
}

func clusterIDs() []string {
	all, _ := hand.List() // completion has nobody to tell
	var ids []string
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	return ids
}

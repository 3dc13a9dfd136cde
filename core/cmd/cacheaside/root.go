package main

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// newRoot is the whole command.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "cacheaside",
		Short: "See what a cache does and holds, and purge it",
		Long: `See what a cache does and holds, and purge it.

It asks the inspector of a service (--inspect) or the server where the entries are (--store).
Only the service knows how a request becomes a key, so where both are given the inspector is
asked. A flag counts before the environment:

  CACHEASIDE_INSPECT  as --inspect
  CACHEASIDE_TOKEN    the inspector's token; there is no flag for it, as others would see it
  CACHEASIDE_STORE    as --store
  NO_COLOR            as --no-color, if it is not empty

Exit status: 0 done; 1 it failed; 2 wrong usage; 3 nothing is stored, or it would miss;
4 a purge was not acknowledged: repeat it.`,
		Version:            version(),
		DisableSuggestions: true, // they take lines
		SilenceErrors:      true,
		SilenceUsage:       true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			f := cmd.Flags()
			a.flags.storeByFlag, a.flags.inspectFlag = f.Changed("store"), f.Changed("inspect")
			if err := a.settle(); err != nil {
				return err
			}
			a.running = true
			return nil
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if strings.Contains(err.Error(), "--token") {
			err = fmt.Errorf("%w: the token is given as CACHEASIDE_TOKEN or by --token-file, as others see a command line", err)
		}
		return err
	})
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)

	f := root.PersistentFlags()
	f.StringVar(&a.flags.store, "store", "", "`URL` of the server: redis://[user[:password]@]host[:port], rediss://…, unix:///path or host:port")
	f.StringVar(&a.flags.inspect, "inspect", "", "`URL` at which the inspector of a service is mounted")
	f.StringVar(&a.flags.tokenFile, "token-file", "", "`FILE` with the inspector's token")
	f.StringVar(&a.flags.namespace, "namespace", "cacheaside", "what keys in the server begin with: `NAME` as in Config.Namespace")
	f.DurationVar(&a.flags.timeout, "timeout", 10*time.Second, "how long one answer may take")
	f.BoolVar(&a.flags.noColor, "no-color", false, "no colors on a terminal")
	f.BoolVar(&a.flags.json, "json", false, "print JSON, the same as the inspector's API has")

	root.AddCommand(
		newGet(a),
		newLs(a),
		newExplain(a),
		newPurge(a),
		newStats(a),
		newTop(a),
		newTail(a),
		newDoctor(a),
	)
	return root
}

// version is that of the module, if it was installed as one.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// complete has the shell complete the values of a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// settle takes over what the environment says and checks what all commands share.
func (a *app) settle() error {
	f := &a.flags
	if !f.storeByFlag {
		f.store = a.getenv("CACHEASIDE_STORE")
	}
	if !f.inspectFlag {
		f.inspect = a.getenv("CACHEASIDE_INSPECT")
	}
	f.noColor = f.noColor || a.getenv("NO_COLOR") != ""
	if f.inspect != "" {
		base, err := inspectURL(f.inspect)
		if err != nil {
			return usagef("--inspect: %w", err)
		}
		f.inspect = base
	}
	if !namespaces.MatchString(f.namespace) {
		return usagef("--namespace: use 1 to 64 letters, digits, '.', '_' or '-'")
	}
	if f.timeout <= 0 {
		return usagef("--timeout: use a duration over zero, such as 5s")
	}
	return nil
}

var namespaces = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// inspectURL completes the address of an inspector. Its errors quote nothing, as a token
// may be in what was given.
func inspectURL(raw string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	switch {
	case err != nil:
		return "", errors.New("it cannot be parsed: give a URL such as http://127.0.0.1:9090/cache/")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("a URL is seen by others, in histories and lists of processes: leave user, query and #token out of it, " +
			"and give the token as CACHEASIDE_TOKEN or by --token-file; if one was there, replace it in the service")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return "", errors.New("give a URL such as http://127.0.0.1:9090/cache/")
	}
	return strings.TrimSuffix(u.String(), "/") + "/", nil
}

package main

import "github.com/spf13/cobra"

func newDoctor(_ *app) *cobra.Command { return &cobra.Command{Use: "doctor"} }

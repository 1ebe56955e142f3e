//go:build tools

// Package engine pins the command that the fall-back toolchain builds.
package engine

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"

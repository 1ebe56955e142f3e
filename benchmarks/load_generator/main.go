// Command load_generator drives one URL with vegeta, open loop: requests leave at random times (Poisson), whether or not earlier ones
// were answered. vegeta paces evenly unless told otherwise; the pacer below is all that is added to it.
//
// It posts the lines of a file in turn, and prints a line of JSON for each answer, in the order in which they came.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"net/http"
	"os"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

const (
	maxWorkers  = 2000
	maxRequests = 1_000_000
)

// poisson holds the times at which requests are due, from the start on.
type poisson []time.Duration

func newPoisson(perSecond, seconds float64, seed int64) poisson {
	dice := rand.New(rand.NewSource(seed))
	due := poisson{}
	for at := dice.ExpFloat64() / perSecond; at < seconds; at += dice.ExpFloat64() / perSecond {
		due = append(due, time.Duration(at*float64(time.Second)))
	}
	return due
}

// Pace tells how long to wait for the next request; it stops after the last.
func (p poisson) Pace(elapsed time.Duration, hits uint64) (time.Duration, bool) {
	if hits >= uint64(len(p)) {
		return 0, true
	}
	return max(0, p[hits]-elapsed), false
}

// Rate is asked for reports that are not used here.
func (p poisson) Rate(time.Duration) float64 { return 0 }

type answer struct {
	AtMs      float64 `json:"at_ms"` // when the request left, from the first one on
	LatencyMs float64 `json:"latency_ms"`
	Status    uint16  `json:"status"`
	Error     string  `json:"error,omitempty"`
}

func run() error {
	url := flag.String("url", "", "of the predict call")
	bodies := flag.String("bodies", "", "file with one JSON body a line, posted in turn")
	rate := flag.Float64("rate", 0, "requests per second")
	seconds := flag.Float64("seconds", 0, "how long requests are sent")
	timeout := flag.Duration("timeout", 30*time.Second, "of one request")
	seed := flag.Int64("seed", 1, "the same one gives the same times")
	flag.Parse()
	if *rate <= 0 || *seconds <= 0 || *rate**seconds > maxRequests {
		return fmt.Errorf("-rate and -seconds must be above 0, their product at most %d", maxRequests)
	}
	content, err := os.ReadFile(*bodies)
	if err != nil {
		return err
	}
	var targets []vegeta.Target
	for line := range strings.Lines(string(content)) {
		header := http.Header{"Content-Type": []string{"application/json"}}
		targets = append(targets, vegeta.Target{Method: http.MethodPost, URL: *url, Body: []byte(strings.TrimSpace(line)), Header: header})
	}
	if len(targets) == 0 {
		return fmt.Errorf("%s has no bodies", *bodies)
	}
	attacker := vegeta.NewAttacker(vegeta.Timeout(*timeout), vegeta.MaxWorkers(maxWorkers), vegeta.Connections(maxWorkers))
	due := newPoisson(*rate, *seconds, *seed)
	printed := json.NewEncoder(os.Stdout)
	var first time.Time
	for result := range attacker.Attack(vegeta.NewStaticTargeter(targets...), due, 0, "load") {
		if first.IsZero() {
			first = result.Timestamp
		}
		found := answer{ms(result.Timestamp.Sub(first)), ms(result.Latency), result.Code, result.Error}
		if err := printed.Encode(found); err != nil {
			return err
		}
	}
	return nil
}

func ms(duration time.Duration) float64 { return float64(duration) / float64(time.Millisecond) }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load_generator:", err)
		os.Exit(1)
	}
}

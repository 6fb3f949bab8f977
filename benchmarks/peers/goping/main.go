// goping sends GET requests with Go's net/http, a fixed number of them at any time, and prints what came of
// it as one line of JSON: the yardstick that penstock ping is measured with.
//
//	goping -k 64 -d 2s http://127.0.0.1:8080/
//	goping -k 64 -n 10000 -cold -ca ca.pem https://127.0.0.1:8443/
//
// Latencies are from before the request to after the last byte of its body. With -numbered each request asks
// for /NUMBER, and -times keeps number, start and end of each, in nanoseconds of CLOCK_MONOTONIC.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

type exchange struct{ Number, Start, End int64 }

// histogram counts latencies to less than one part in a hundred, in memory that does not grow.
type histogram [64 << digits]int64

const digits = 7 // binary ones

func (h *histogram) add(latency int64) {
	shift := max(bits.Len64(uint64(latency))-digits-1, 0)
	h[shift<<digits+int(latency>>shift)]++
}

// value is the middle of what slot i counts.
func value(i int) int64 {
	shift := max(i>>digits-1, 0)
	return int64(i-shift<<digits)<<shift + 1<<shift>>1
}

func (h *histogram) percentile(share float64) int64 {
	var total, seen int64
	for _, n := range h {
		total += n
	}
	for i, n := range h {
		if seen += n; n > 0 && float64(seen) >= share*float64(total) {
			return value(i)
		}
	}
	return 0
}

// worker is what one goroutine has seen.
type worker struct {
	requests, errors int
	latencies        histogram
	times            []exchange // with -times
}

type result struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu"`
	P50      int64   `json:"p50"` // nanoseconds
	P99      int64   `json:"p99"`
	RSS      int64   `json:"rss"` // bytes, the most there were
}

var (
	workers  = flag.Int("k", 64, "requests in flight")
	duration = flag.Duration("d", 0, "how long requests start")
	count    = flag.Int64("n", 0, "how many requests; 0 for as many as fit into -d")
	cold     = flag.Bool("cold", false, "a new connection for each request")
	ca       = flag.String("ca", "", "file of the certificate to trust")
	numbered = flag.Bool("numbered", false, "ask for /NUMBER")
	times    = flag.String("times", "", "file for the times of each request")
)

func main() {
	flag.Parse()
	if flag.NArg() != 1 || (*duration == 0 && *count == 0) {
		fmt.Fprintln(os.Stderr, "usage: goping [-k N] {-d TIME | -n N} [-cold] [-ca FILE] [-numbered] [-times FILE] URL")
		os.Exit(2)
	}
	out := run(&http.Client{Transport: transport(), Timeout: 10 * time.Second}, flag.Arg(0))
	json.NewEncoder(os.Stdout).Encode(out)
}

func transport() *http.Transport {
	its := &http.Transport{
		MaxIdleConns:        *workers,
		MaxIdleConnsPerHost: *workers,
		DisableKeepAlives:   *cold,
		DisableCompression:  true,
	}
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		its.TLSClientConfig = &tls.Config{RootCAs: roots, SessionTicketsDisabled: true}
	}
	return its
}

// monotonic is the clock that other processes have, too; time.Now keeps its own to itself.
func monotonic() int64 {
	var now syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}

func run(client *http.Client, url string) result {
	var next atomic.Int64
	var wait sync.WaitGroup
	all := make([]worker, *workers)
	start := time.Now()
	for i := range all {
		wait.Add(1)
		go func(its *worker) {
			defer wait.Done()
			for *duration == 0 || time.Since(start) < *duration {
				number := next.Add(1) - 1
				if *count > 0 && number >= *count {
					return
				}
				its.ask(client, url, number)
			}
		}(&all[i])
	}
	wait.Wait()
	seconds := time.Since(start).Seconds()
	write(all)
	return summary(all, seconds)
}

func (its *worker) ask(client *http.Client, url string, number int64) {
	if *numbered {
		url = strings.TrimRight(url, "/") + "/" + strconv.FormatInt(number, 10)
	}
	start := monotonic()
	err := get(client, url)
	end := monotonic()
	if err != nil {
		its.errors++
		if its.errors == 1 {
			fmt.Fprintln(os.Stderr, err)
		}
		return
	}
	its.requests++
	its.latencies.add(end - start)
	if *times != "" {
		its.times = append(its.times, exchange{number, start, end})
	}
}

func get(client *http.Client, url string) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err = io.Copy(io.Discard, answer.Body); err == nil && answer.StatusCode != 200 {
		err = fmt.Errorf("status %d", answer.StatusCode)
	}
	return err
}

func summary(all []worker, seconds float64) result {
	var total worker
	for i := range all {
		total.requests += all[i].requests
		total.errors += all[i].errors
		for slot, n := range all[i].latencies {
			total.latencies[slot] += n
		}
	}
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return result{
		Requests: total.requests,
		Errors:   total.errors,
		Seconds:  seconds,
		CPU:      time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds(),
		P50:      total.latencies.percentile(0.5),
		P99:      total.latencies.percentile(0.99),
		RSS:      usage.Maxrss << 10,
	}
}

func write(all []worker) {
	if *times == "" {
		return
	}
	file, err := os.Create(*times)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	defer file.Close()
	buffered := bufio.NewWriter(file)
	defer buffered.Flush()
	for i := range all {
		binary.Write(buffered, binary.LittleEndian, all[i].times)
	}
}

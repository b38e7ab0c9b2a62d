// The same service in Go: net/http, a worker a CPU behind a bounded channel, refused when it is full, skipped when the client has left.
package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"
)

const waiting = 32

type job struct {
	ctx        context.Context
	iterations int
	done       chan int32
}

// Not inlined: where its result isn't used, nothing would be left of the loop but its counter.
//
//go:noinline
func spin(iterations int) int32 {
	state := int32(iterations)
	for i := 0; i < iterations; i++ {
		state = state*1664525 + 1013904223
	}
	return state
}

// How many iterations take a millisecond here: another compiler, another loop.
func calibrate() float64 {
	const trial = 2_000_000
	best := time.Hour
	for i := 0; i < 60; i++ {
		began := time.Now()
		spin(trial)
		best = min(best, time.Since(began))
	}
	return trial / (best.Seconds() * 1000)
}

func main() {
	iterationsPerMs := calibrate()
	// Lines that nobody keeps, as for the others.
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	log := slog.New(slog.NewJSONHandler(null, nil))
	queue := make(chan *job, waiting)
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for j := range queue {
				if j.ctx.Err() == nil {
					j.done <- spin(j.iterations)
				}
			}
		}()
	}

	http.HandleFunc("/ping", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "pong")
	})
	http.HandleFunc("/work", func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		log.Info("incoming request", "method", r.Method, "url", r.URL.String())
		status := http.StatusOK
		defer func() { log.Info("request completed", "status", status, "ms", time.Since(began).Seconds()*1000) }()
		ms, err := strconv.ParseFloat(r.URL.Query().Get("ms"), 64)
		if err != nil {
			status = http.StatusBadRequest
			http.Error(w, err.Error(), status)
			return
		}
		j := &job{ctx: r.Context(), iterations: int(ms * iterationsPerMs), done: make(chan int32, 1)}
		select {
		case queue <- j:
		default:
			status = http.StatusServiceUnavailable
			w.Header().Set("Retry-After", "1")
			http.Error(w, "overloaded", status)
			return
		}
		select {
		case result := <-j.done:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]int32{"result": result})
		case <-r.Context().Done():
			status = 499
		}
	})

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	port := os.NewFile(3, "port")
	io.WriteString(port, strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	http.Serve(listener, nil)
}

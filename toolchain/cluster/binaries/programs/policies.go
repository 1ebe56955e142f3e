package main

import (
	"context"
	"os/signal"
	"sync"
	"syscall"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/spf13/cobra"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// newNetworkPoliciesCommand enforces NetworkPolicies on one node by iptables and ipset, until it is asked to end; then it takes its
// rules back. It is kube-router's policy controller alone: no routes, no service proxy.
func newNetworkPoliciesCommand() *cobra.Command {
	config := options.NewKubeRouterConfig()
	config.EnableIPv4 = true
	command := &cobra.Command{
		Use:          "network-policies",
		Short:        "enforces NetworkPolicies on one node",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(command.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return enforce(ctx, config)
		},
	}
	flags := command.Flags()
	flags.StringVar(&config.Kubeconfig, "kubeconfig", "", "how to reach the API server")
	flags.StringVar(&config.HostnameOverride, "hostname-override", "", "the node's name")
	flags.StringSliceVar(&config.ClusterIPCIDRs, "service-cluster-ip-range", config.ClusterIPCIDRs, "the addresses of Services")
	return command
}

func enforce(ctx context.Context, config *options.KubeRouterConfig) error {
	connection, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(connection)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods().Informer(), factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	var sets sync.Mutex
	controller := func() (*netpol.NetworkPolicyController, error) {
		rules, lists, err := netpol.NewIPTablesHandlers(config)
		if err != nil {
			return nil, err
		}
		return netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &sets, rules, lists)
	}
	engine, err := controller()
	if err != nil {
		return err
	}
	// Its copy of the table has to be empty: the one that has run would write the rules of others twice.
	cleaner, err := controller()
	if err != nil {
		return err
	}
	// Before anything is enforced, all of it is known: a Pod whose policies are not there yet would be cut off.
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	handlers := map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: engine.PodEventHandler, namespaces: engine.NamespaceEventHandler, policies: engine.NetworkPolicyEventHandler,
	}
	for informer, handler := range handlers {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	// The engine waits until somebody hears that it lives.
	beats := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		for range beats {
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	go engine.Run(beats, ctx.Done(), &running)
	<-ctx.Done()
	running.Wait()
	cleaner.Cleanup()
	return nil
}

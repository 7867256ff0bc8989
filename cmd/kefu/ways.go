package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kefu-go/kefu/internal/gate"
	"github.com/kefu-go/kefu/internal/server"
)

// defaultCA is where the certificate of the local CA is unless told otherwise.
const defaultCA = "kefu-ca.pem"

// Ways are how programs that know https://api.weixin.qq.com alone come in.
type ways struct {
	tlsAddr, proxyAddr, ca string
	others                 bool
}

func (w *ways) flags(fs *pflag.FlagSet) {
	fs.StringVar(&w.proxyAddr, "proxy-addr", "", "a proxy for HTTPS_PROXY that answers for "+gate.Host+" itself and refuses other hosts")
	fs.BoolVar(&w.others, "tunnel-others", false, "the proxy tunnels other hosts; on loopback alone")
	fs.StringVar(&w.tlsAddr, "tls-addr", "", "a listener that has the certificate of "+gate.Host+", for hosts or DNS")
	fs.StringVar(&w.ca, "ca", defaultCA, "certificate of the local CA; made if missing, its key beside it (kefu ca)")
}

func (w *ways) check() error {
	if w.others && !loopbackAddr(w.proxyAddr) {
		return usagef("--tunnel-others would take anybody anywhere", "--tunnel-others 会让任何人借道访问任何地方").
			then("give --proxy-addr an address of this machine, such as 127.0.0.1:7680", "把 --proxy-addr 设为本机地址，例如 127.0.0.1:7680")
	}
	return nil
}

// addrs are where they listen.
func (w *ways) addrs() []string { return nonEmpty([]string{w.proxyAddr, w.tlsAddr}) }

// open begins to listen for h; what is not asked for has no address.
func (w *ways) open(p *program, h http.Handler) (proxy, tls string, servers []*http.Server, err error) {
	if w.proxyAddr == "" && w.tlsAddr == "" {
		return "", "", nil, nil
	}
	ca, err := openCA(w.ca)
	if err != nil {
		return "", "", nil, err
	}
	defer func() {
		if err != nil {
			for _, s := range servers {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	start := func(l net.Listener, h http.Handler, sealed bool) {
		s := server.HTTP(h)
		s.ErrorLog = log.New(io.Discard, "", 0) // who does not trust the CA says so itself
		servers = append(servers, s)
		if !sealed {
			go s.Serve(l) // ends with Close or Shutdown, as below
			return
		}
		s.TLSConfig = ca.TLS()
		go s.ServeTLS(l, "", "")
	}
	if w.proxyAddr != "" {
		l, err := listen("--proxy-addr", w.proxyAddr)
		if err != nil {
			return "", "", servers, err
		}
		inner := gate.NewConnections(l.Addr())
		start(l, &gate.Proxy{Others: w.others, Inner: inner}, false)
		start(inner, h, true)
		proxy = urlOf(l)
		p.say("programs come in with HTTPS_PROXY=%s and the CA in %s", "程序设 HTTPS_PROXY=%s 并信任 %s 中的 CA 即可接入", proxy, w.ca)
	}
	if w.tlsAddr != "" {
		l, err := listen("--tls-addr", w.tlsAddr)
		if err != nil {
			return "", "", servers, err
		}
		start(l, h, true)
		tls = "https://" + l.Addr().String()
		p.say("programs come in at %s if hosts or DNS say that "+gate.Host+" is here, and with the CA in %s", "用 hosts 或 DNS 把 "+gate.Host+" 指到 %s，并信任 %s 中的 CA 即可接入", tls, w.ca)
	}
	return proxy, tls, servers, nil
}

func openCA(file string) (*gate.CA, error) {
	ca, err := gate.Open(file, time.Now())
	if errors.Is(err, gate.ErrOver) {
		return nil, failf("the CA in %s is over", "%s 中的 CA 已过期", file).then("make another: kefu ca --renew, and give it to the programs", "重新生成：kefu ca --renew，并分发给各程序")
	} else if err != nil {
		f := failf("the CA in %s can't be used", "无法使用 %s 中的 CA", file)
		f.cause = err
		return nil, f
	}
	return ca, nil
}

func (p *program) caCommand() *cobra.Command {
	var file string
	var renew bool
	cmd := &cobra.Command{
		Use: "ca", Short: "The local CA for " + gate.Host + " · 本机 CA",
		Long: "Make the local CA behind --proxy-addr and --tls-addr if there is none, and print where its certificate is.\n" +
			"生成 --proxy-addr 与 --tls-addr 所用的本机 CA（如果还没有），并打印证书路径。\n\n" +
			"It signs for " + gate.Host + " alone and ends after 90 days. Give the certificate to the program that needs it (SSL_CERT_FILE,\n" +
			"NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE, a Java trust store); don't put it into the system's store.\n" +
			"它只为 " + gate.Host + " 签名，90 天后失效。只交给需要的程序，不要装进系统信任库。",
		Example: "  kefu ca\n  kefu ca export", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.fromEnvironment(cmd.Flags(), "ca"); err != nil {
				return err
			}
			if renew {
				if _, err := gate.Make(file, time.Now()); err != nil {
					return err
				}
			} else if _, err := openCA(file); err != nil {
				return err
			}
			_, err := fmt.Fprintln(p.stdout, file)
			return err
		},
	}
	cmd.PersistentFlags().StringVar(&file, "ca", defaultCA, "where its certificate is; the key is beside it")
	cmd.Flags().BoolVar(&renew, "renew", false, "make another in its place")
	cmd.AddCommand(&cobra.Command{
		Use: "export", Short: "Print the certificate · 打印证书", Example: "  kefu ca export", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.fromEnvironment(cmd.Flags(), "ca"); err != nil {
				return err
			}
			ca, err := openCA(file)
			if err != nil {
				return err
			}
			_, err = p.stdout.Write(ca.PEM)
			return err
		},
	})
	return cmd
}

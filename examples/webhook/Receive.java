import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * A bot behind a Kefu webhook, with the JDK alone: checks the signature, answers in the response.
 *
 * <pre>
 * kefu webhook add http://127.0.0.1:3000/ --type follower.message     # with kefu serve --allow-private
 * WEBHOOK_SECRET=whsec_… java Receive.java 3000
 * </pre>
 */
public class Receive {
    static final byte[] KEY = Base64.getDecoder().decode(System.getenv("WEBHOOK_SECRET").replaceFirst("^whsec_", ""));

    static boolean verified(String id, String at, String signatures, byte[] body) throws Exception {
        if (id == null || at == null || signatures == null || !at.matches("\\d{1,12}")
                || Math.abs(System.currentTimeMillis() / 1000 - Long.parseLong(at)) > 300) {
            return false;
        }
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(KEY, "HmacSHA256"));
        mac.update((id + "." + at + ".").getBytes(StandardCharsets.UTF_8));
        byte[] want = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(body))).getBytes(StandardCharsets.US_ASCII);
        for (String one : signatures.split(" ")) {
            if (MessageDigest.isEqual(one.getBytes(StandardCharsets.US_ASCII), want)) {
                return true;
            }
        }
        return false;
    }

    public static void main(String[] args) throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])), 0);
        server.createContext("/", exchange -> {
            try (exchange) {
                byte[] body = exchange.getRequestBody().readNBytes(1 << 20);
                var h = exchange.getRequestHeaders();
                if (!verified(h.getFirst("webhook-id"), h.getFirst("webhook-timestamp"), h.getFirst("webhook-signature"), body)) {
                    exchange.sendResponseHeaders(401, -1);
                    return;
                }
                byte[] answer = "{\"messages\":[{\"msgtype\":\"text\",\"text\":{\"content\":\"收到\"}}]}".getBytes(StandardCharsets.UTF_8);
                exchange.getResponseHeaders().set("Content-Type", "application/json");
                exchange.sendResponseHeaders(200, answer.length);
                exchange.getResponseBody().write(answer);
            } catch (Exception e) {
                throw new java.io.IOException(e);
            }
        });
        server.start();
    }
}

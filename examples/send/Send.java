import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;

/**
 * Hand a message to the gateway and wait for its end, with the JDK alone (java.net.http). The key makes repeats safe:
 * run it twice with the same one, and the follower gets one message.
 *
 * <pre>
 * KEFU_URL=http://127.0.0.1:7600 KEFU_API_KEY=kf_… java Send.java oUser1 "您的订单已发货" order-7
 * </pre>
 */
public class Send {
    /** A string in JSON; a program of yours takes the library that it has. */
    static String json(String s) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : s.toCharArray()) {
            if (c == '"' || c == '\\' || c < ' ') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    public static void main(String[] args) throws Exception {
        if (args.length != 3 || System.getenv("KEFU_API_KEY") == null) {
            System.err.println("KEFU_API_KEY=kf_… java Send.java OPENID TEXT KEY");
            System.exit(2);
        }
        String base = System.getenv().getOrDefault("KEFU_URL", "http://127.0.0.1:7600");
        String message = "{\"touser\":" + json(args[0]) + ",\"msgtype\":\"text\",\"text\":{\"content\":" + json(args[1]) + "}}";
        HttpRequest request = HttpRequest.newBuilder(URI.create(base + "/v1/messages?wait=10s"))
                .timeout(Duration.ofSeconds(30))
                .header("Authorization", "Bearer " + System.getenv("KEFU_API_KEY"))
                .header("Content-Type", "application/json")
                .header("Idempotency-Key", args[2])
                .POST(HttpRequest.BodyPublishers.ofString("{\"message\":" + message + "}"))
                .build();
        HttpResponse<String> answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.body()); // the message with its "state"; 4xx: why nothing was kept; 5xx: send it again with the same key
        System.exit(answer.statusCode() < 300 ? 0 : 1);
    }
}

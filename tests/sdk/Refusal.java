// Bodies of the sizes given, sent with a key that is none: does the refusal arrive? With java.net.http.HttpClient as
// HTTP/1.1, and as it is by default, when it offers to go on as h2c. Prints the status and code, or the failure. Run as
// `java Refusal.java SIZE…`.
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.regex.Pattern;

public class Refusal {
    public static void main(String[] sizes) throws InterruptedException {
        for (var size : sizes) {
            send("java-http1", HttpClient.Version.HTTP_1_1, Integer.parseInt(size));
            send("java-default", HttpClient.Version.HTTP_2, Integer.parseInt(size));
        }
        System.exit(0);
    }

    static void send(String name, HttpClient.Version version, int size) throws InterruptedException {
        var url = URI.create(System.getenv("OPENAI_BASE_URL") + System.getenv("CHAT_PATH"));
        var head = "{\"messages\":[{\"role\":\"user\",\"content\":\"";
        var tail = "\"}]}";
        var body = head + "a".repeat(size - head.length() - tail.length()) + tail;
        var request = HttpRequest.newBuilder(url).timeout(Duration.ofSeconds(60))
                .header("Authorization", "Bearer mvgw_wrong_key").header("Content-Type", "application/json")
                .POST(BodyPublishers.ofString(body)).build();
        try {
            var client = HttpClient.newBuilder().version(version).build();
            var response = client.send(request, BodyHandlers.ofString());
            var code = Pattern.compile("\"code\":\"(\\w+)\"").matcher(response.body());
            var said = code.find() ? code.group(1) : "none";
            System.out.printf("%s %d status=%d code=%s%n", name, size, response.statusCode(), said);
        } catch (IOException failure) {
            System.out.printf("%s %d failed=%s: %s%n", name, size, failure.getClass().getSimpleName(), failure.getMessage());
        }
    }
}

// Finding config.json: the local cache, and a download from a small server on the loopback address.

#include "problem/hub.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace expertile {
namespace {

namespace fs = std::filesystem;

// Answers one request with the given text, and keeps what was asked.
class OneAnswerServer {
 public:
  // stalls: keeps the connection open behind the answer until the client gives up.
  explicit OneAnswerServer(std::string answer, bool stalls = false)
      : socket_(::socket(AF_INET, SOCK_STREAM, 0)), answer_(std::move(answer)), stalls_(stalls) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(socket_, 4), 0);
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = std::to_string(ntohs(address.sin_port));
    url_ = "http://127.0.0.1:" + port_;
    thread_ = std::thread([this] { serve(); });
  }
  ~OneAnswerServer() {
    ::shutdown(socket_, SHUT_RDWR);  // wakes an accept that nobody answered
    thread_.join();
    ::close(socket_);
  }
  OneAnswerServer(const OneAnswerServer&) = delete;
  OneAnswerServer& operator=(const OneAnswerServer&) = delete;
  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] const std::string& port() const { return port_; }
  // After the download returned.
  [[nodiscard]] const std::string& request() const { return request_; }

 private:
  void serve() {
    const int connection = ::accept(socket_, nullptr, nullptr);
    if (connection < 0) return;
    char buffer[4096];
    while (request_.find("\r\n\r\n") == std::string::npos) {
      const ssize_t count = ::read(connection, buffer, sizeof(buffer));
      if (count <= 0) break;
      request_.append(buffer, static_cast<std::size_t>(count));
    }
    for (std::size_t done = 0; done < answer_.size();) {
      const ssize_t count = ::send(connection, answer_.data() + done, answer_.size() - done, MSG_NOSIGNAL);
      if (count <= 0) break;
      done += static_cast<std::size_t>(count);
    }
    while (stalls_ && ::read(connection, buffer, sizeof(buffer)) > 0) {
    }
    ::close(connection);
  }

  int socket_;
  std::string answer_;
  bool stalls_;
  std::string port_;
  std::string url_;
  std::string request_;
  std::thread thread_;
};

std::string answer(const std::string& status, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" +
         body;
}

class Hub : public ::testing::Test {
 protected:
  void SetUp() override {
    cache_ = fs::temp_directory_path() / ("expertile-hub-" + std::to_string(getpid()));
    ::setenv("HF_HUB_CACHE", cache_.c_str(), 1);
    ::setenv("no_proxy", "127.0.0.1,localhost", 1);
    ::setenv("HF_TOKEN", "secret", 1);
    ::unsetenv("HF_HUB_OFFLINE");
  }
  void TearDown() override {
    for (const char* variable :
         {"HF_HUB_CACHE", "HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_DOWNLOAD_TIMEOUT"})
      ::unsetenv(variable);
    fs::remove_all(cache_);
  }
  static Result<std::string> download(const OneAnswerServer& server) {
    ::setenv("HF_ENDPOINT", server.url().c_str(), 1);
    return find_model_config("org/name");
  }
  fs::path cache_;
};

TEST_F(Hub, DownloadsTheConfigWithTheToken) {
  const OneAnswerServer server(answer("200 OK", "{\"hidden_size\": 64}"));
  const auto text = download(server);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text, "{\"hidden_size\": 64}");
  EXPECT_EQ(server.request().substr(0, server.request().find('\r')), "GET /org/name/resolve/main/config.json HTTP/1.1");
  EXPECT_NE(server.request().find("Authorization: Bearer secret"), std::string::npos);
}

TEST_F(Hub, SaysThatAModelDoesNotExist) {
  const OneAnswerServer server(answer("404 Not Found", "no"));
  const auto text = download(server);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::not_found);
  EXPECT_EQ(text.error().message, "model 'org/name': " + server.url() +
                                      "/org/name/resolve/main/config.json answered 404; give an existing org/name or a "
                                      "directory");
}

TEST_F(Hub, RefusesAnEndlessAnswer) {
  const OneAnswerServer server(answer("200 OK", std::string(17 << 20, ' ')));
  const auto text = download(server);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message,
            "model 'org/name': " + server.url() +
                "/org/name/resolve/main/config.json is larger than 16777216 bytes, the most that is "
                "read");
}

TEST_F(Hub, FollowsARedirectAndKeepsTheTokenFromAnotherHost) {
  const OneAnswerServer target(answer("200 OK", "{}"));
  const OneAnswerServer server("HTTP/1.1 302 Found\r\nLocation: http://localhost:" + target.port() +
                               "/elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  const auto text = download(server);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text, "{}");
  EXPECT_TRUE(target.request().starts_with("GET /elsewhere HTTP/1.1"));
  EXPECT_EQ(target.request().find("secret"), std::string::npos);
}

TEST_F(Hub, FollowsNoRedirectToAnotherProtocol) {
  const OneAnswerServer server(
      "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  const auto text = download(server);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().message, "model 'org/name': " + server.url() +
                                      "/org/name/resolve/main/config.json cannot be downloaded: Unsupported protocol; "
                                      "give a directory instead");
}

TEST_F(Hub, GivesUpOnAServerThatStalls) {
  ::setenv("HF_HUB_DOWNLOAD_TIMEOUT", "1", 1);
  const OneAnswerServer server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", true);
  const auto text = download(server);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, ErrorCode::not_found);
  EXPECT_EQ(text.error().message, "model 'org/name': " + server.url() +
                                      "/org/name/resolve/main/config.json cannot be downloaded: Timeout was reached; "
                                      "give a directory instead");
}

TEST_F(Hub, TakesTheCacheBeforeTheNetworkAndStaysOfflineWhenTold) {
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  const auto missing = find_model_config("org/name");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message,
            "model 'org/name' is not in the local cache and HF_HUB_OFFLINE is set; give a directory");
  const fs::path folder = cache_ / "models--org--name";
  fs::create_directories(folder / "refs");
  fs::create_directories(folder / "snapshots/abc");
  std::ofstream(folder / "refs/main") << "abc";
  std::ofstream(folder / "snapshots/abc/config.json") << "{}";
  const auto cached = find_model_config("org/name");
  ASSERT_TRUE(cached) << cached.error().message;
  EXPECT_EQ(*cached, "{}");
}

}  // namespace
}  // namespace expertile
